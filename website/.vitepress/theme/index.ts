import { Content, type Theme } from "vitepress";
import DefaultTheme, { VPHomeFeatures, VPHomeHero } from "vitepress/theme-without-fonts";
import { h } from "vue";
import { Calculator } from "./calculator.ts";
import { Versions } from "./versions.ts";
import "./style.css";

export default {
  extends: DefaultTheme,
  Layout: () =>
    h(DefaultTheme.Layout, null, {
      "nav-bar-content-after": () => h(Versions),
    }),
  enhanceApp({ app }) {
    app.component("Calculator", Calculator); // in docs/guides/scale.md
    // the theme's own first page is no <main>
    app.component("opening", () =>
      h("main", { class: "VPHome opening" }, [
        h(VPHomeHero),
        h("div", { class: "vp-doc" }, h(Content)),
        h(VPHomeFeatures),
      ]),
    );
  },
} satisfies Theme;
