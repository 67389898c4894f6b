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
  const rows = manners.map((manner) => {
    const cells = [manner.subject, requestOf(manner), answerOf(manner.answer), manner.differs ?? "yes"];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  const table = ["| subject | request | answer | as the real API? |", "|---|---|---|---|", rows.join("\n")];
  return `${readme.slice(0, from)}${begin}\n${table.join("\n")}\n${readme.slice(to)}`;
}

function requestOf({ request, headers = {}, body }: Manner): string {
  // A token's text says nothing; what is wrong with it is the subject.
  const shown = Object.entries(headers).filter(([name]) => name.toLowerCase() !== "authorization");
  const parts = [
    code(request),
    shown.map(([name, value]) => code(`${name}: ${value}`)),
    body ? code(body) : [],
  ];
  return parts.flat().join(", ");
}

function answerOf(answer: Answer): string {
  return answer.code === undefined ? String(answer.status) : `${answer.status} \`${answer.code}\``;
}

/** Long ones are cut: the case has them whole. */
function code(text: string): string {
  const line = text.replaceAll(/\s+/g, " ");
  const cut = line.length > 80 ? `${line.slice(0, 79)}…` : line;
  const fence = cut.includes("`") ? "``" : "`";
  return `${fence}${cut}${fence}`;
}
