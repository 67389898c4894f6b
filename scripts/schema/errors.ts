/** The registry of errors, and what is made from it in the three places that need it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "smol-toml";
import { Failure } from "local-platform/terminal/failure";
import { formatted } from "./formatted.ts";
import { projectRoot } from "../project.ts";

/** The one file that is written by hand. */
export const registryFile = "supabase/errors.toml";

/** An error as the registry has it. */
export interface RegisteredError {
  slug: string;
  status: number;
  /** Null when only the edge functions know it. */
  sqlstate: string | null;
  title: string;
  hint: string;
  facts: string[];
  retryable: boolean;
  when: string;
  do: string;
}

const defaults = { sqlstate: null, facts: [], retryable: false };
const fields = ["slug", "status", "sqlstate", "title", "hint", "facts", "retryable", "when", "do"];

/** The registry, in its own order. */
export async function readRegistry(root = projectRoot): Promise<RegisteredError[]> {
  return parseRegistry(await readFile(join(root, registryFile), "utf8"));
}

/**
 * The same from a text.
 *
 * @throws {@link Failure} that names the error and the field in which something is wrong
 */
export function parseRegistry(text: string): RegisteredError[] {
  return Object.entries(parse(text)).map(([slug, entry]) => {
    const given = entry as unknown as Omit<RegisteredError, "slug">;
    const error: RegisteredError = { ...defaults, ...given, slug };
    const { status, sqlstate } = error;
    const wrong = [
      ...Object.keys(error)
        .filter((field) => !fields.includes(field))
        .map((field) => `${field} is no field`),
      ...(/^[a-z][a-z_]*$/.test(slug) ? [] : ["a slug is a-z and _"]),
      ...(Number.isInteger(status) && status >= 400 && status <= 599 ? [] : ["status is 400 to 599"]),
      ...(isStateOf(sqlstate, status) ? [] : [`PostgREST does not answer ${sqlstate} with ${status}`]),
      ...(["title", "hint", "when", "do"] as const)
        .filter((field) => !/\S/.test(error[field] ?? ""))
        .map((field) => `${field} is missing`),
    ];
    if (wrong.length > 0) throw new Failure(`${registryFile}, ${slug}: ${wrong.join("; ")}`);
    return error;
  });
}

/** PostgREST makes the status from the SQLSTATE: PT409 is 409, 42501 is 403, or 401 for nobody, and 25006 is 405. */
function isStateOf(sqlstate: unknown, status: number): boolean {
  if (sqlstate === null) return true;
  if (sqlstate === "25006") return status === 405;
  return sqlstate === "42501" ? [401, 403].includes(status) : sqlstate === `PT${status}`;
}

/** The three files as they should be, by their path relative to the project. */
export async function generateErrors(
  registry: RegisteredError[],
  root = projectRoot,
): Promise<Map<string, string>> {
  const made = new Map<string, string>();
  for (const [file, blocks] of Object.entries(places)) {
    let text = await readFile(join(root, file), "utf8");
    for (const block of blocks) text = between(file, text, block, registry);
    made.set(file, file.endsWith(".sql") ? text : await formatted(file, text));
  }
  return made;
}

interface Block {
  /** The line before and the line after what is made. */
  from: string;
  to: string;
  write(registry: RegisteredError[]): string;
}

const places: Record<string, Block[]> = {
  "supabase/schemas/10_access/refuse.sql": [
    {
      from: `      -- made from ${registryFile}: npm run errors\n`,
      to: "    ) as r (slug, sqlstate, hint)\n",
      write: (registry) =>
        `${registry
          .filter(({ sqlstate }) => sqlstate !== null)
          .map(({ slug, sqlstate, hint }) => `      (${[slug, sqlstate!, hint].map(quoted).join(", ")})`)
          .join(",\n")}\n`,
    },
  ],
  "supabase/functions/_shared/errors.ts": [
    {
      from: "export const errors = {\n",
      to: "} as const satisfies Record<string, ErrorKind>;\n",
      write: (registry) =>
        registry
          .map(
            ({ slug, status, title, sqlstate, retryable, hint }) =>
              `${slug}: ${JSON.stringify({ status, title, sqlstate, retryable, hint }, null, 2)},\n`,
          )
          .join(""),
    },
  ],
  "docs/errors.md": [
    {
      from: `<!-- made from ${registryFile}: npm run errors -->\n`,
      to: "\nA dash under SQLSTATE",
      write: (registry) =>
        `\n| slug | SQLSTATE | HTTP | facts | retryable |\n|---|---|---|---|---|\n${registry
          .map(
            ({ slug, status, sqlstate, facts, retryable }) =>
              `| [${slug}](#${slug}) | ${sqlstate ?? "–"} | ${status} | ${facts.join(", ") || "–"} | ${retryable ? "yes" : "no"} |\n`,
          )
          .join("")}`,
    },
    {
      from: "\n---\n\n",
      to: "",
      write: (registry) =>
        registry
          .map(({ slug, when, do: advice }) => `## ${slug}\n**When** ${when}\n**Do** ${advice}\n`)
          .join("\n"),
    },
  ],
};

/** The text with what stands between a block's lines made anew; to the end, where no line is named. */
function between(
  file: string,
  text: string,
  { from, to, write }: Block,
  registry: RegisteredError[],
): string {
  const start = text.indexOf(from) + from.length;
  const end = to === "" ? text.length : text.indexOf(to, start);
  if (start < from.length || end === -1)
    throw new Failure(`${file} has lost the line "${(start < from.length ? from : to).trim()}"`);
  return text.slice(0, start) + write(registry) + text.slice(end);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
