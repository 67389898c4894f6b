import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { headingsOf } from "../../website/markdown.ts";

const pages = [
  ...readdirSync(projectRoot),
  ...readdirSync(join(projectRoot, "docs"), { recursive: true, encoding: "utf8" }).map((name) =>
    join("docs", name),
  ),
  ...readdirSync(join(projectRoot, "packages")).map((name) => join("packages", name, "README.md")),
].filter((name) => name.endsWith(".md") && existsSync(join(projectRoot, name)));

/** The names by which headings are linked to. */
const anchors = (text: string) => new Set(headingsOf(text).map(({ id }) => id));

/** Links of a page that lead nowhere. */
function broken(page: string, text: string): string[] {
  const prose = text.replaceAll(/^```[^]*?^```/gm, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
    if (/^[a-z]+:/.test(link!)) return [];
    const [path, anchor] = link!.split("#");
    const target = path === "" ? page : join(dirname(page), path!);
    if (!existsSync(join(projectRoot, target))) return [`${page}: ${link}`];
    if (!anchor || !target.endsWith(".md")) return [];
    const there = target === page ? text : readFileSync(join(projectRoot, target), "utf8");
    return anchors(there).has(anchor) || there.includes(`id="${anchor}"`) ? [] : [`${page}: ${link}`];
  });
}

test("every link between the project's pages leads somewhere", () => {
  const links = pages.map((page) => broken(page, readFileSync(join(projectRoot, page), "utf8")));

  console.log(`pages=${pages.length} broken links=${links.flat().length}`);
  expect(links.flat()).toEqual([]);
});

test("a link that leads nowhere is seen", () => {
  expect(
    broken("README.md", "[a](docs/nowhere.md) [b](#nothing) [c](docs/errors.md) [d](https://x.y)"),
  ).toEqual(["README.md: docs/nowhere.md", "README.md: #nothing"]);
});
