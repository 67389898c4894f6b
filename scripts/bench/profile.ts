/** What is in a call: which lines of its function, and which C functions, its instructions are. */
import { type Counting, asOwner, asServer, countParts, script } from "./count-instructions.ts";
import type { CountedCall } from "./counted-calls.ts";
import { type Backend, mark, runAlone, valuesOf } from "./single-backend.ts";

/**
 * Tables of both, to be read.
 *
 * @param lined the function whose lines are counted, if it is not the one that is called
 */
export async function profileCall(
  call: CountedCall,
  counting: Counting,
  say: (text: string) => void,
  lined: string | undefined = /public\.(\w+)/.exec(call.statement)?.[1],
): Promise<string> {
  say(`counting ${call.name}`);
  const { counted } = await countParts(call, counting);
  const text = [`${call.name}: ${kIr(counted.total)} kIr a call`];
  if (lined !== undefined) {
    say(`counting the lines of tokenbook.${lined}`);
    const lines = await countLines(lined, call, counting);
    text.push(
      `\nLines of tokenbook.${lined}, with all that they call; the last one with what is around the function, its commit for one:`,
      ...lines.map(({ line, words, count }) => `${kIr(count)}  ${String(line).padStart(4)}  ${words}`),
    );
  }
  // What calls itself is counted with its outermost call: the inner ones, '2, are in it. What is nearly all of it says nothing.
  const isTelling = ([name, count]: [string, number]) => !/'\d+$/.test(name) && count < 0.7 * counted.total;
  text.push(
    "\nC functions, with all that they call:",
    ...largest([...counted.inclusive].filter(isTelling), 50),
  );
  text.push("\nC functions by themselves:", ...largest([...counted.self], 20));
  return text.join("\n");
}

function largest(counts: [name: string, count: number][], number: number): string[] {
  return counts
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, number)
    .map(([name, count]) => `${kIr(count)}  ${name}`);
}

const kIr = (count: number) => count.toFixed(1).padStart(8);

interface Line {
  /** As PL/pgSQL counts them. */
  line: number;
  words: string;
  /** Thousands of instructions a call. */
  count: number;
}

/**
 * Counts a function's lines: puts a mark before each statement, twice, so that what a mark costs is known as well. A
 * run that says at each mark where it is tells which part is of which line.
 */
async function countLines(name: string, call: CountedCall, counting: Counting): Promise<Line[]> {
  const definition = await definitionOf(name, counting.backend);
  const { first, warm, rest: all } = script(call, counting);
  const rest = all.slice(0, 10);
  const run = (marks: (line: number) => string, counted: boolean) =>
    runAlone(
      counting.backend,
      [marked(definition, marks), ...asServer(call), ...first, ...warm, mark, ...rest, mark, ...asOwner],
      { counted },
    );
  const said = await run((line) => `raise notice 'at line %', ${line};`, false);
  const statements = definition.split("\n");
  const order = [...said.log.matchAll(/at line (\d+)/g)].map(([, line]) => Number(line));
  const once = "assert pg_catalog.random() >= 0;";
  const { parts } = await run(() => `${once} ${once}`, true);

  // the marks of the first and the warm calls come before the mark that begins the others
  const each = order.length / (first.length - 1 + warm.length + rest.length);
  const before = 2 * each * (1 + warm.length);
  const own = parts.slice(before + 1, before + 2 * each * rest.length + 2).map(({ total }) => total);
  if (!Number.isInteger(each) || parts.length !== before + 2 * each * rest.length + 3)
    throw new Error(`tokenbook.${name} took other lines from call to call`);
  const counts = new Map<number, number>();
  for (const [nth, line] of order.slice(-each * rest.length).entries()) {
    const [markItself, took] = own.slice(1 + 2 * nth, 3 + 2 * nth);
    counts.set(line, (counts.get(line) ?? 0) + took! - markItself!);
  }
  const begin = statements.findIndex((text) => text.startsWith("AS $function$"));
  return [...counts].map(([line, count]) => ({
    line: line - begin,
    words: statements[line - 1]!.trim().slice(0, 90),
    count: count / rest.length / 1000,
  }));
}

async function definitionOf(name: string, backend: Backend): Promise<string> {
  const { output } = await runAlone(backend, [
    `select replace(pg_catalog.pg_get_functiondef(p.oid), chr(10), chr(1)) as definition from pg_catalog.pg_proc p where p.pronamespace = 'tokenbook'::regnamespace and p.proname = '${name}'`,
  ]);
  const [definition] = valuesOf(output, "definition");
  if (definition === undefined) throw new Error(`There is no tokenbook.${name}`);
  return definition.replaceAll("\u0001", "\n");
}

/** The function with a mark before each of its statements; lines are those of the definition. */
export function marked(definition: string, markOf: (line: number) => string): string {
  const starts = statementLines(definition);
  return definition
    .split("\n")
    .map((text, i) => (starts.has(i + 1) ? `${markOf(i + 1)} ${text}` : text))
    .join("\n");
}

/**
 * The lines on which a statement of a plpgsql function begins, of one that is written as ours are: a statement a line.
 * What is in parts (`if … then`) ends where its condition does, and what is inside begins anew.
 */
export function statementLines(definition: string): Set<number> {
  const found = new Set<number>();
  let isInBody = false;
  let mayBegin = false;
  let isLabelled = false;
  let isOfParts = false;
  let isComment = false;
  for (const [i, line] of definition.split("\n").entries()) {
    const text = line.replace(/--.*$/, "").trim();
    if (text.startsWith("/*")) isComment = true;
    if (isComment || text === "") {
      if (text.endsWith("*/")) isComment = false;
      continue;
    }
    if (/^begin\b/.test(text)) {
      isInBody = mayBegin = true;
      isLabelled = false;
      continue;
    }
    if (/^declare\b/.test(text)) isInBody = mayBegin = false;
    if (!isInBody) continue;
    if (mayBegin) {
      if (/^<<\w+>>$/.test(text)) {
        isLabelled = true;
        continue;
      }
      isOfParts = /^(if|elsif|else|for|foreach|while|loop|case|when|exception)\b/.test(text);
      if (!isLabelled && !/^(elsif|else|when|exception|end)\b/.test(text)) found.add(i + 1);
      isLabelled = false;
    }
    mayBegin = text.endsWith(";") || (isOfParts && /\b(then|loop|else|exception)$/.test(text));
  }
  return found;
}
