/** The comment of a function, taken apart: each of its sentences says one kind of thing. */

export interface Comment {
  /** What the function does, in the first sentence. */
  does: string;
  /** Who may call it, as "For an admin or the server". */
  callers: string | undefined;
  /** What is said of the parameters, by name. */
  parameters: Map<string, string>;
  /** What is said of the answer's fields, by path: `grants[].id`. */
  fields: Map<string, string>;
  /** Whether all fields are listed. */
  isComplete: boolean;
  /** What is said of the answer beside its fields. */
  answer: string;
  /** Slugs, each with what is said of it. */
  errors: { slug: string; note: string }[];
  /** All other sentences. */
  rest: string[];
}

const callers = /^For (the user|the payer|an admin|the server)\b/;

export function takeApart(text: string): Comment {
  const comment: Comment = {
    does: "",
    callers: undefined,
    parameters: new Map(),
    fields: new Map(),
    isComplete: false,
    answer: "",
    errors: [],
    rest: [],
  };
  for (const sentence of sentencesOf(text)) {
    if (comment.does === "") comment.does = sentence;
    else if (comment.callers === undefined && callers.test(sentence)) comment.callers = sentence;
    else if (/^p_\w+/.test(sentence)) readParameters(sentence, comment);
    else if (sentence.startsWith("Returns ")) readAnswer(sentence, comment);
    else if (sentence.startsWith("Errors: ")) readErrors(sentence, comment);
    else comment.rest.push(sentence);
  }
  for (const sentence of [comment.does, ...comment.rest]) readParametersWithin(sentence, comment);
  return comment;
}

/** What a sentence about something else says of a parameter after a colon or a semicolon. */
function readParametersWithin(sentence: string, comment: Comment): void {
  const text = sentence.replace(/\.$/, "");
  for (const clause of splitAt(text, (at) => /^[:;] p_/.test(text.slice(at))).slice(1)) {
    const said = clause.slice(2);
    const [name] = /^p_\w+/.exec(said)!;
    if (!comment.parameters.has(name)) readParameters(said, comment);
  }
}

/** Sentences end with a full stop outside of brackets, before a capital, a parameter or the end. */
export function sentencesOf(text: string): string[] {
  return splitAt(text, (at) =>
    /^\. (?=[A-Z]|[a-z]+_[a-z_]+\b|busy:|scenario |tokens is |rank is |is_default )/.test(text.slice(at)),
  ).map((sentence) => sentence.replace(/^\. /, "").replace(/\.?$/, "."));
}

function readParameters(sentence: string, comment: Comment): void {
  let names: string[] = [];
  for (const clause of splitAt(sentence.replace(/\.$/, ""), (at) => sentence.startsWith("; ", at))) {
    const said = clause.replace(/^; /, "");
    const [list] = /^p_\w+((, and | and |, or | or |, )p_\w+)*/.exec(said) ?? [];
    if (list === undefined) {
      for (const name of names) comment.parameters.set(name, `${comment.parameters.get(name)}; ${said}`);
      continue;
    }
    names = list.match(/p_\w+/g)!;
    const words = said.slice(list.length).replace(/^[:,]? (is )?/, "");
    for (const name of names) comment.parameters.set(name, words);
  }
}

function readAnswer(sentence: string, comment: Comment): void {
  const said = sentence.replace(/^Returns /, "").replace(/\.$/, "");
  const begin = said.startsWith("{") ? 0 : said.startsWith("[{") ? 1 : -1;
  if (begin === -1) {
    if (/^[a-z_]+( \(|,)/.test(said)) readFields(said, "", comment);
    else comment.answer = said;
    return;
  }
  const end = closing(said, begin);
  readFields(said.slice(begin + 1, end), "", comment);
  comment.isComplete = !said.slice(begin, end).includes("…");
  comment.answer = said.slice(end + 1).replace(/^\]?[,;:]? */, "");
}

/** `a, b (of them), c: [{d, e}] in order`: names, what is said of each, and what each has. */
function readFields(list: string, path: string, comment: Comment): void {
  for (const item of splitAt(list, (at) => list.startsWith(", ", at))) {
    const field = item.replace(/^, /, "");
    const [, names, rest] = /^([a-z_]+(?: \| [a-z_]+)*)(.*)$/s.exec(field) ?? [];
    if (names === undefined) continue;
    for (const name of names.split(" | ")) {
      const here = `${path}${name}`;
      const inner = rest!.search(/[[{]/);
      const isNested = /^( \(.*?\))?: \[?\{/s.test(rest!) || rest!.startsWith(" {");
      if (isNested) {
        const at = rest!.indexOf("{", inner);
        const end = closing(rest!, at);
        readFields(rest!.slice(at + 1, end), `${here}${rest![at - 1] === "[" ? "[]" : ""}.`, comment);
        const note = `${rest!.slice(0, inner)} ${rest!.slice(end + 1).replace(/^\]/, "")}`;
        comment.fields.set(here, withoutBrackets(note));
      } else comment.fields.set(here, withoutBrackets(rest!));
    }
  }
}

function readErrors(sentence: string, comment: Comment): void {
  const list = sentence.replace(/^Errors: /, "").replace(/\.$/, "");
  for (const item of splitAt(list, (at) => /^(, |; )/.test(list.slice(at)))) {
    const [, slug, note] = /^(?:, |; )?(.*?\b[a-z]+(?:_[a-z]+)*|[a-z_]+)(?: \((.*)\))?$/s.exec(item) ?? [];
    if (slug !== undefined) comment.errors.push({ slug, note: note ?? "" });
  }
}

/** What stands in or after the first brackets, as words. */
const withoutBrackets = (text: string) =>
  text
    .trim()
    .replace(/^: ?/, "")
    .replace(/:$/, "")
    .trim()
    .replace(/^\((.*)\)$/s, "$1");

/** Where the bracket that opens there is closed. */
function closing(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if ("([{".includes(text[at]!)) depth++;
    if (")]}".includes(text[at]!) && --depth === 0) return at;
  }
  return text.length;
}

/** The parts of a text between places outside of brackets; each begins with what it was split at. */
function splitAt(text: string, isBorder: (at: number) => boolean): string[] {
  const parts: string[] = [];
  let [depth, from] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    if ("([{".includes(text[at]!)) depth++;
    else if (")]}".includes(text[at]!)) depth--;
    else if (depth === 0 && isBorder(at)) {
      parts.push(text.slice(from, at));
      from = at;
    }
  }
  return [...parts, text.slice(from)].filter((part) => part.trim() !== "");
}
