/*
 * What the site has, in the order of its menu: every page once.
 *
 * A page is named by its file. Its title and its description are in the file: the first heading, and the first
 * sentence after it. `tests/website/pages.test.ts` fails where a page of docs/ is missing here.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { headingsOf, plainText } from "./markdown.ts";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A group of the menu. */
interface Group {
  title: string;
  pages: Entry[];
  /** Whether it is a menu by itself, which its own pages have. */
  apart?: boolean;
}

/** A page by its file; a page that the menu calls otherwise than itself; or a line of the menu that leads into a page. */
type Entry = string | { title: string; page: string } | { title: string; at: string };

export const groups: Group[] = [
  {
    title: "Start",
    pages: [
      { title: "What it is", page: "README.md" },
      { title: "Try it", at: "README.md#try-it" },
      { title: "Install", at: "README.md#into-your-project" },
      { title: "The first charge", at: "README.md#from-your-server" },
      "docs/guides/calling.md",
      "docs/guides/client.md",
      "docs/guides/testing-your-app.md",
      "docs/guides/moving-in.md",
      "docs/guides/importing.md",
    ],
  },
  {
    title: "Charge and show",
    pages: [
      "docs/guides/charging-for-model-calls.md",
      "docs/guides/charging-for-a-streaming-call.md",
      "docs/guides/model-prices-and-rates.md",
      "docs/guides/batches.md",
      "docs/guides/caps-and-teams.md",
      "docs/guides/react.md",
      "docs/guides/usage-reports.md",
      "docs/guides/alerts.md",
      "docs/guides/webhooks.md",
      "docs/guides/your-own-tables.md",
      "docs/guides/other-sign-ins.md",
    ],
  },
  {
    title: "Plans and money",
    pages: [
      "docs/guides/grants.md",
      "docs/guides/grant-schedules.md",
      "docs/guides/subscriptions.md",
      "docs/guides/trials.md",
      "docs/guides/codes.md",
      "docs/guides/payments.md",
      "docs/guides/checkout.md",
      "docs/guides/payment-events.md",
      "docs/guides/revenue.md",
    ],
  },
  {
    title: "Operate",
    pages: [
      "docs/guides/console.md",
      "docs/guides/reconciliation.md",
      "docs/guides/tamper-evidence.md",
      "docs/guides/export.md",
      "docs/guides/frozen-accounts.md",
      "docs/guides/erasing-a-user.md",
      "docs/guides/moving-house.md",
      "docs/guides/read-replicas.md",
      "docs/guides/several-projects.md",
      "docs/guides/scale.md",
      "docs/guides/citus.md",
      "docs/guides/older-names.md",
      "docs/architecture/TOKEN_MIGRATION_HOTFIX.md",
      "SECURITY.md",
    ],
  },
  {
    title: "Reference",
    pages: [
      "docs/reference.md",
      "docs/errors.md",
      "docs/tables.md",
      "docs/guides/limits.md",
      "docs/hold-transitions.md",
      "packages/tokenbook/README.md",
      "docs/glossary.md",
      "CHANGELOG.md",
    ],
  },
  {
    title: "Why",
    pages: [
      "ARCHITECTURE.md",
      "docs/PROMISES.md",
      "docs/performance.md",
      "docs/console/plans.md",
      "packages/local-platform/README.md",
      "CONTRIBUTING.md",
      { title: "Decisions", at: "docs/decisions/README.md" },
    ],
  },
  {
    title: "Decisions",
    apart: true,
    pages: [
      "docs/decisions/README.md",
      ...readdirSync(join(root, "docs", "decisions"))
        .filter((name) => /^\d{4}-.*\.md$/.test(name))
        .sort()
        .map((name) => `docs/decisions/${name}`),
    ],
  },
];

/** The page that somebody sees first; the menu's list does not name it. */
export const home = "website/index.md";

/** The file of an entry that is a page. */
export function fileOf(entry: Entry): string | undefined {
  if (typeof entry === "string") return entry;
  return "page" in entry ? entry.page : undefined;
}

/** The files of all pages, in the menu's order. */
export const pages: string[] = pagesOf(groups);

function pagesOf(listed: readonly Group[]): string[] {
  return listed.flatMap((group) => group.pages.map(fileOf)).filter((file) => file !== undefined);
}

/** The page of a file, below the address of the site: `guides/caps-and-teams.html`. */
export function addressOf(file: string): string {
  return routeOf(file).replace(/\.md$/, ".html");
}

/** The name under which VitePress knows a page. */
export function routeOf(file: string): string {
  if (file === home) return "index.md";
  if (file === "README.md") return "overview.md";
  return file
    .toLowerCase()
    .replace(/^docs\//, "")
    .replace(/^packages\/(.*)\/readme\.md$/, "packages/$1.md")
    .replace(/(^|\/)readme\.md$/, "$1index.md");
}

/** What a page says of itself. */
export interface About {
  title: string;
  description: string;
  /** Whether it has headings below its title. */
  hasSections: boolean;
}

/** The first heading of a page, and the first sentence after it, or of the list after it. */
export function about(file: string): About {
  const text = readFileSync(join(root, file), "utf8");
  const [title, ...sections] = headingsOf(text);
  const [paragraph = ""] = text
    .replaceAll(/^```[^]*?^```$/gm, "")
    .split(/\n\s*\n/)
    .filter((block) => /^(- )?[\p{L}\p{N}`*[]/u.test(block) && !block.startsWith("Status: "));
  return {
    title: plainText(title?.text ?? file),
    hasSections: sections.some(({ level }) => level === 2 || level === 3),
    description: firstSentence(
      plainText(paragraph.replace(/^- /, "").split("\n- ")[0]!.replaceAll(/\s+/g, " ")),
    ),
  };
}

const firstSentence = (text: string) =>
  /^.*?[.:!?](?= [\p{Lu}`]|$)/u.exec(text)?.[0].replace(/:$/, ".") ?? text;

/** What the list says and the folder does not, and the other way round. */
export function faultsOf(listed: readonly Group[] = groups): string[] {
  const named = pagesOf(listed);
  const there = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .map((name) => `docs/${name.replaceAll("\\", "/")}`)
    .filter((name) => name.endsWith(".md"))
    .sort();
  const sections = listed.flatMap((group) =>
    group.pages.flatMap((entry) => (typeof entry !== "string" && "at" in entry ? [entry] : [])),
  );
  return [
    ...there.filter((page) => !named.includes(page)).map((page) => `${page} is not in website/pages.ts`),
    ...named
      .filter((page, index) => named.indexOf(page) !== index)
      .map((page) => `${page} is in website/pages.ts twice`),
    ...named
      .filter((page) => !existsSync(join(root, page)))
      .map((page) => `${page} is in website/pages.ts, and there is no such page`),
    ...sections.filter(({ at }) => !isThere(at)).map(({ title, at }) => `${title}: there is no ${at}`),
  ];
}

function isThere(at: string): boolean {
  const [file = "", id] = at.split("#");
  return (
    existsSync(join(root, file)) &&
    (id === undefined ||
      headingsOf(readFileSync(join(root, file), "utf8")).some((heading) => heading.id === id))
  );
}
