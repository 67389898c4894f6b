import { join } from "node:path";
import { type DefaultTheme, defineConfig } from "vitepress";
import { about, addressOf, groups, home, pages, root, routeOf } from "../pages.ts";
import { openingOf } from "../readme.ts";
import { renderingOf } from "./rendering.ts";
import { miniSearch, searchable, searchAsDialog, translations } from "./search.ts";

/** `next`, or the release whose pages these are: the folder of the site in which they are. */
const version = process.env["DOCS_VERSION"] ?? "next";
/** Where the site is on its host. */
const base = `${process.env["DOCS_BASE"] ?? "/"}${version}/`;

const opening = openingOf();

/** VitePress's settings of its theme, and ours. */
export interface ThemeConfig extends DefaultTheme.Config {
  version: string;
}

export default defineConfig<ThemeConfig>({
  lang: "en",
  title: "Tokenbook",
  description: `${opening.text} ${opening.tagline}`,
  base,
  // pages are where they are in the repository, so that their links and pictures hold
  srcDir: root,
  // folders of the repository with Markdown that is no page
  srcExclude: ["{console,examples,node_modules,scripts,supabase,tests}/**", "packages/*/*/**"],
  outDir: process.env["DOCS_OUT"] ?? `dist/${version}`,
  cacheDir: join(root, "website", "node_modules", ".cache"),
  rewrites: Object.fromEntries([home, ...pages].map((file) => [file, routeOf(file)])),
  // links.ts resolves the links of pages, check.ts follows those of what was built
  ignoreDeadLinks: true,
  head: [["link", { rel: "icon", type: "image/svg+xml", href: `${base}icon.svg` }]],
  vite: {
    publicDir: join(root, "website", "public"),
    envDir: join(root, "website"), // not the keys of the repository's .env.local
    server: { watch: { ignored: ["**/.tokenbook/**", "**/dist/**"] } },
    build: { chunkSizeWarningLimit: 2000 }, // the search's index, which comes when somebody searches
    plugins: [
      {
        name: "readme",
        enforce: "pre",
        transform: (text, id) => (id === join(root, home) ? withReadme(text) : undefined),
      },
      searchAsDialog,
    ],
  },
  markdown: renderingOf(base),
  transformPageData(data) {
    if (data.filePath !== home) {
      const { description, hasSections } = about(data.filePath);
      return { description, frontmatter: { ...data.frontmatter, aside: hasSections } };
    }
    return {
      title: opening.text.replace(/\.$/, ""),
      description: opening.tagline,
      frontmatter: {
        ...data.frontmatter,
        hero: {
          name: "Tokenbook",
          text: opening.text,
          tagline: opening.tagline,
          actions: [
            { theme: "brand", text: "What it is", link: linkTo("README.md") },
            { theme: "alt", text: "Install", link: linkTo("README.md#into-your-project") },
            { theme: "alt", text: "Functions", link: linkTo("docs/reference.md") },
          ],
        },
        features: opening.features,
      },
    };
  },
  themeConfig: {
    version,
    // the decisions have a menu of their own: there are more of them than of everything else
    sidebar: {
      "/decisions/": menuOf(groups.filter(({ apart }) => apart)),
      "/": menuOf(groups.filter(({ apart }) => !apart)),
    },
    nav: [
      { text: "Guides", link: linkTo("README.md"), activeMatch: "/(overview|guides/)" },
      { text: "Functions", link: linkTo("docs/reference.md") },
      { text: "Errors", link: linkTo("docs/errors.md") },
      { text: "Glossary", link: linkTo("docs/glossary.md") },
    ],
    outline: [2, 3],
    externalLinkIcon: true,
    search: { provider: "local", options: { _render: searchable, translations, miniSearch } },
    docFooter: { prev: "Before", next: "After" },
  },
});

function menuOf(shown: typeof groups): DefaultTheme.SidebarItem[] {
  return shown.map(({ title, pages: entries }) => ({
    text: title,
    items: entries.map((entry) => {
      if (typeof entry === "string") return { text: about(entry).title, link: linkTo(entry) };
      return { text: entry.title, link: linkTo("at" in entry ? entry.at : entry.page) };
    }),
  }));
}

/** @param at a file, or the id of a heading in it */
function linkTo(at: string): string {
  const [file = "", id] = at.split("#");
  return `/${addressOf(file)}${id === undefined ? "" : `#${id}`}`;
}

function withReadme(text: string): string {
  return text
    .replace("<!-- the picture of README -->", () => opening.picture.replace("](", "](../"))
    .replace("<!-- the commands of README -->", () => opening.commands);
}
