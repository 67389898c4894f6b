import type { Answer, Manner } from "./manner.ts";

const begin = "<!-- manners: made by tests/manners/manners.test.ts -->";
const end = "<!-- /manners -->";

/**
 * The README with the table of manners put in the place of the one it has.
 *
 * @throws when a marker is missing: there would be no table, and nobody would miss it.
 */
export function withTable(readme: string, manners: readonly Manner[]): string {
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the README has lost "${begin}" or "${end}"`);
  const [others, same] = [
    manners.filter(({ differs }) => differs),
    manners.filter(({ differs }) => !differs),
  ];
  const table = [
    "Otherwise than the real one:",
    "",
    "| subject | request | answer | the real API |",
    "|---|---|---|---|",
    ...others.map((manner) => row([...cellsOf(manner), manner.differs!])),
    "",
    "The same:",
    "",
    "| subject | request | answer |",
    "|---|---|---|",
    ...same.map((manner) => row(cellsOf(manner))),
  ];
  return `${readme.slice(0, from)}${begin}\n${table.join("\n")}\n${readme.slice(to)}`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function cellsOf(manner: Manner): string[] {
  return [manner.subject, requestOf(manner), answerOf(manner.answer)];
}

function requestOf({ request, headers = {}, body, isServer }: Manner): string {
  // A token's text says nothing; what is wrong with it is the subject.
  const shown = Object.entries(headers).filter(([name]) => name.toLowerCase() !== "authorization");
  const parts = [
    code(request) + (isServer ? " with the secret key" : ""),
    shown.map(([name, value]) => code(`${name}: ${value}`)),
    body ? code(body) : [],
  ];
  return parts.flat().join(", ");
}

/** Status, code and headers. What the body says stands in the case. */
function answerOf({ status, code: named, body, headers = {} }: Answer): string {
  const inBody = (body as { code?: unknown } | undefined)?.code;
  const errorCode = named ?? (typeof inBody === "string" ? inBody : undefined);
  const shown = Object.entries(headers).map(([name, value]) =>
    code(`${name}: ${value instanceof RegExp ? value.source : value}`),
  );
  return [errorCode === undefined ? String(status) : `${status} \`${errorCode}\``, ...shown].join(", ");
}

/** Long ones are cut: the case has them whole. */
function code(text: string): string {
  const line = text.replaceAll("\n", "⏎").replaceAll(/\s+/g, " ");
  const cut = line.length > 80 ? `${line.slice(0, 79)}…` : line;
  const fence = cut.includes("`") ? "``" : "`";
  return `${fence}${cut}${fence}`;
}
