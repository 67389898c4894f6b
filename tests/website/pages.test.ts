/** The list of pages, and what is made from it without building the site. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { targetOf } from "../../website/links.ts";
import { everything, markdownFor, shortList } from "../../website/llms.ts";
import { about, addressOf, faultsOf, groups, pages } from "../../website/pages.ts";

test("every page of docs/ is in the site's list once, and everything in the list is there", () => {
  console.log(`groups=${groups.length} pages=${pages.length}`);
  expect(faultsOf()).toEqual([]);
});

test.each([
  [
    "a page that is not in it",
    without("docs/guides/caps-and-teams.md"),
    "docs/guides/caps-and-teams.md is not in",
  ],
  ["a page that is in it twice", also("docs/errors.md"), "docs/errors.md is in website/pages.ts twice"],
  ["a page that is not there", also("docs/nowhere.md"), "docs/nowhere.md is in website/pages.ts, and there"],
  [
    "a line that leads to no heading",
    also({ title: "Nothing", at: "README.md#nothing" }),
    "Nothing: there is no README.md#nothing",
  ],
])("the list is seen to have %s", (_, listed, fault) => {
  expect(faultsOf(listed)).toEqual([expect.stringContaining(fault)]);
});

test("every page has an address of its own, a title and a description", () => {
  expect(new Set(pages.map(addressOf)).size).toBe(pages.length);
  for (const page of pages) {
    const { title, description } = about(page);
    expect({ page, title, description }).toEqual({
      page,
      title: expect.stringMatching(/\S/),
      description: expect.stringMatching(/^[^\n]{10,}$/),
    });
  }
});

test("a link leads to the page, to the file's copy or to the repository's host, and a dead one nowhere", () => {
  const from = "docs/guides/caps-and-teams.md";
  const seen = (link: string, source?: string) => targetOf(from, link, source);

  expect(seen("../errors.md#busy")).toEqual({ kind: "page", href: "/errors.html#busy" });
  expect(seen("../../README.md")).toEqual({ kind: "page", href: "/overview.html" });
  expect(seen("../decisions")).toEqual({ kind: "page", href: "/decisions/index.html" });
  expect(seen("#caps")).toEqual({ kind: "page", href: "#caps" });
  expect(seen("https://stripe.com/x")).toEqual({ kind: "outside", href: "https://stripe.com/x" });
  expect(seen("../../supabase/functions/.env.example")).toEqual({
    kind: "file",
    href: "/source/supabase/functions/dot-env.example.txt",
    file: "supabase/functions/.env.example",
  });
  expect(seen("../../supabase/schemas")).toEqual({ kind: "words" });
  expect(seen("../../supabase/schemas", "https://host.example/tokenbook/blob/v0.1.0/")).toEqual({
    kind: "outside",
    href: "https://host.example/tokenbook/blob/v0.1.0/supabase/schemas",
  });
  expect(seen("nowhere.md")).toEqual({ kind: "dead" });
  expect(seen("../../passwd")).toEqual({ kind: "dead" });
});

test("llms.txt has a line a page in the menu's order, with its title, its Markdown and its first sentence", () => {
  const lines = shortList("/next/")
    .split("\n")
    .filter((line) => line.startsWith("- "));

  expect(lines).toEqual(
    pages.map((page) => {
      const { title, description } = about(page);
      return `- [${title}](/next/${addressOf(page).replace(".html", ".md")}): ${description}`;
    }),
  );
  expect(
    shortList("/next/")
      .split("\n## ")
      .slice(1)
      .map((part) => part.split("\n")[0]),
  ).toEqual(groups.map(({ title }) => title));
});

test("llms-full.txt has every page whole, in the same order", () => {
  const all = everything("/next/");
  const places = pages.map((page) => all.indexOf(markdownFor(page, "/next/").trim()));

  expect(places.every((place) => place >= 0)).toBe(true);
  expect(places).toEqual(places.toSorted((one, other) => one - other));
});

test("a page's Markdown for programs links to the site's Markdown", () => {
  const links = pages.flatMap((page) =>
    [
      ...markdownFor(page, "/next/")
        .replaceAll(/^ *```[^]*?^ *```$/gm, "")
        .matchAll(/(?<!!)\]\((\/next\/[^)#\s]+)/g),
    ].map(([, link]) => link!),
  );
  const known = pages.map((page) => `/next/${addressOf(page).replace(".html", ".md")}`);

  expect(links.length).toBeGreaterThan(100);
  expect(links.filter((link) => !known.includes(link) && !link.startsWith("/next/source/"))).toEqual([]);
});

test("the site is a workspace that installs nothing from an address of its own", async () => {
  const lock = (await import("../../package-lock.json", { with: { type: "json" } })).default;

  expect(existsSync(join(projectRoot, "website", "package.json"))).toBe(true);
  const resolved = Object.values(lock.packages).map((entry) => (entry as { resolved?: string }).resolved);
  expect(resolved.filter((address) => address?.includes("://"))).toEqual([]);
});

function without(page: string): typeof groups {
  return groups.map((group) => ({ ...group, pages: group.pages.filter((entry) => entry !== page) }));
}

function also(entry: (typeof groups)[number]["pages"][number]): typeof groups {
  return [...groups, { title: "More", pages: [entry] }];
}
