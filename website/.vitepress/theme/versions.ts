import { useData } from "vitepress";
import { defineComponent, h, onMounted, ref } from "vue";

/**
 * The menu of versions. Which there are is in versions.json beside the folders of the versions, and is read when
 * a page is opened: a version that was built long ago knows the later ones too.
 */
export const Versions = defineComponent({
  name: "Versions",
  setup() {
    const { site, page } = useData();
    const { version } = site.value.themeConfig as { version: string };
    const above = site.value.base.replace(/[^/]*\/$/, "");
    const versions = ref([version]);
    onMounted(async () => {
      const answer = await fetch(`${above}versions.json`).catch(() => undefined);
      if (answer?.ok) versions.value = (await answer.json()) as string[];
    });

    /** The same page of another version, or the first page of that where it has no such page. */
    async function go(event: Event) {
      const other = `${above}${(event.target as HTMLSelectElement).value}/`;
      const same = `${other}${page.value.relativePath.replace(/\.md$/, ".html")}`;
      const answer = await fetch(same, { method: "HEAD" }).catch(() => undefined);
      location.assign(answer?.ok ? same : other);
    }

    return () =>
      h("label", { class: "versions" }, [
        h("span", { class: "visually-hidden" }, "Version"),
        h(
          "select",
          { value: version, onChange: go },
          versions.value.map((one) => h("option", { value: one, selected: one === version }, one)),
        ),
      ]);
  },
});
