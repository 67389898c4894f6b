/** The search: what it finds first, and how it is told to a screen reader. */
import type { MarkdownEnv, MarkdownRenderer } from "vitepress";

/**
 * Common words find nothing, titles weigh most, and pages for use come before those about why and how.
 * The functions are written into the pages as they stand here, so they use nothing from outside.
 */
export const miniSearch = {
  options: {
    processTerm: (term: string) =>
      /^(a|an|and|are|as|at|be|by|can|do|does|for|from|how|i|in|is|it|my|of|on|or|the|to|what|when|which|with|you|your)$/i.test(
        term,
      )
        ? null
        : term.toLowerCase(),
  },
  searchOptions: {
    fuzzy: 0.2,
    prefix: true,
    boost: { title: 4, text: 2, titles: 1 },
    boostDocument: (id: string) =>
      /\/(decisions|packages|console)\/|\/(changelog|contributing|promises|architecture)\.html/.test(id)
        ? 0.4
        : 1,
  },
};

/** A page as it is searched: its code needs no colours. */
export function searchable(text: string, env: MarkdownEnv, md: MarkdownRenderer): string {
  const { highlight } = md.options;
  md.options.highlight = null;
  const html = md.render(text, env);
  md.options.highlight = highlight ?? null;
  return html;
}

/** The button that opens the search is called what it shows: its word, and the key. */
export const translations = { button: { buttonAriaLabel: "SearchK" } };

/**
 * VitePress's search box is a button around everything in it, and its results are links inside of options: a
 * screen reader reads out neither. Here it is a dialog with a list of links.
 */
export const searchAsDialog = {
  name: "search-as-dialog",
  enforce: "pre" as const,
  transform: (text: string, id: string) =>
    id.endsWith("/VPLocalSearchBox.vue") ? asDialog(text) : undefined,
};

const changes: [from: string, to: string][] = [
  ['role="button"', 'role="dialog" aria-modal="true"'],
  [`:aria-owns="results?.length ? 'localsearch-list' : undefined"`, ""],
  ['aria-expanded="true"', ""],
  ['aria-haspopup="listbox"', ""],
  [`:role="results?.length ? 'listbox' : undefined"`, ""],
  ['role="option"', ""],
  [`:aria-selected="selectedIndex === index ? 'true' : 'false'"`, ""],
  [`:aria-activedescendant="selectedIndex > -1 ? ('localsearch-item-' + selectedIndex) : undefined"`, ""],
  ['aria-autocomplete="both"', ""],
  [`:aria-label="[...p.titles, p.title].join(' > ')"`, ""],
  ["<kbd :aria-label", '<kbd role="img" :aria-label'],
];

function asDialog(component: string): string {
  return changes.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`VitePress's search box has no ${from} any more.`);
    return text.replaceAll(from, to);
  }, component);
}
