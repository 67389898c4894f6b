/** Reads something at the place where the reader stands, or throws {@link Unreadable}. */
export type Parser<T> = (reader: Reader) => T;

/**
 * What a text could not be read as. No Error: each alternative that is tried throws one, and the stack of an
 * Error costs more than all the reading.
 */
export class Unreadable {
  readonly complaint: Complaint;

  constructor(complaint: Complaint) {
    this.complaint = complaint;
  }
}

/** What was found at a place and what would have been right there. */
interface Complaint {
  at: number;
  /** The next character, where nothing better is known. */
  character?: string | undefined;
  found: readonly string[];
  expected: readonly string[];
}

interface Outcome<T> {
  value?: T;
  failed: boolean;
  consumed: boolean;
  complaint: Complaint;
}

/**
 * Reads a text with parsers that are made of smaller ones.
 *
 * PostgREST reads its query strings with the Parsec library and sends on what that says about a text
 * it can't read. The rules here are therefore Parsec's: an alternative is tried only if the one
 * before it failed without reading anything, and of several complaints the furthest wins.
 */
export class Reader {
  private at = 0;
  private pending: Complaint = silent(0);
  private readonly characters: string[];

  constructor(text: string) {
    this.characters = Array.from(text);
  }

  /** One character that `accepts` likes. */
  one(accepts: (character: string) => boolean, expected?: string): string {
    const character = this.characters[this.at];
    if (character !== undefined && accepts(character)) {
      this.at++;
      this.pending = silent(this.at);
      return character;
    }
    const names = expected === undefined ? [] : [expected];
    return this.fail({ ...silent(this.at), character: shown(character), expected: names });
  }

  /** This very character. */
  char(wanted: string): string {
    return this.one((character) => character === wanted, shown(wanted));
  }

  /** This very text. A part of it counts as read, so wrap it in {@link attempt} before alternatives. */
  text(wanted: string): string {
    for (let i = 0; i < wanted.length; i++) {
      const character = this.characters[this.at + i];
      if (character === wanted[i]) continue;
      const complaint = {
        ...silent(this.at),
        character: shown(character),
        expected: [shown(wanted)],
      };
      if (i === 0) return this.fail(complaint);
      this.at += i;
      throw new Unreadable(complaint);
    }
    this.at += wanted.length;
    this.pending = silent(this.at);
    return wanted;
  }

  /** The first alternative that can be read. */
  or<T>(...alternatives: Parser<T>[]): T {
    let complaint = silent(this.at);
    for (const parser of alternatives) {
      const outcome = this.outcome(parser);
      if (outcome.consumed) return this.settle(outcome);
      complaint = merged(complaint, outcome.complaint);
      if (!outcome.failed) return this.settle({ ...outcome, complaint });
    }
    return this.fail(complaint);
  }

  /** Reads it, or nothing at all: a failure halfway goes back to the start. */
  attempt<T>(parser: Parser<T>): T {
    const start = this.at;
    const outcome = this.outcome(parser);
    if (!outcome.failed) return this.settle(outcome);
    this.at = start;
    return this.fail(outcome.complaint);
  }

  optional<T>(parser: Parser<T>): T | undefined {
    return this.or<T | undefined>(parser, () => undefined);
  }

  many<T>(parser: Parser<T>): T[] {
    const values: T[] = [];
    for (;;) {
      const outcome = this.outcome(parser);
      if (outcome.failed) {
        if (outcome.consumed) return this.settle<never>(outcome as Outcome<never>);
        this.pending = values.length > 0 ? outcome.complaint : merged(this.pending, outcome.complaint);
        return values;
      }
      this.settle(outcome);
      values.push(outcome.value as T);
    }
  }

  many1<T>(parser: Parser<T>): T[] {
    const first = parser(this);
    return [first].concat(this.many(parser));
  }

  separated<T>(parser: Parser<T>, separator: Parser<unknown>): T[] {
    const first = parser(this);
    const rest = this.many((r) => {
      separator(r);
      return parser(r);
    });
    return [first].concat(rest);
  }

  between<T>(open: string, close: string, parser: Parser<T>): T {
    this.char(open);
    const value = parser(this);
    this.char(close);
    return value;
  }

  /** Gives what a parser expects a name of its own. */
  named<T>(expected: string, parser: Parser<T>): T {
    const outcome = this.outcome(parser);
    if (!outcome.consumed && (outcome.failed || isMeaningful(outcome.complaint))) {
      outcome.complaint = { ...outcome.complaint, expected: [expected] };
    }
    return this.settle(outcome);
  }

  /** Succeeds where the parser would, and reads nothing. */
  ahead(parser: Parser<unknown>): void {
    const [start, pending] = [this.at, this.pending];
    const outcome = this.outcome(parser);
    if (outcome.failed) return this.settle<never>(outcome as Outcome<never>);
    this.at = start;
    this.pending = pending;
  }

  /** Succeeds where the parser would fail, and reads nothing. */
  notAhead(parser: Parser<string>): void {
    const start = this.at;
    const outcome = this.outcome(parser);
    const end = this.at;
    this.at = start;
    if (!outcome.failed) this.fail({ ...silent(end), found: [shown(outcome.value, "'")] });
    this.pending = merged(this.pending, { ...outcome.complaint });
  }

  end(): void {
    const character = this.characters[this.at];
    if (character === undefined) return;
    this.fail({ ...silent(this.at), found: [shown(character, "'")], expected: ["end of input"] });
  }

  /** Where a complaint is, as `(line 1, column 4)`. */
  place({ at }: Complaint): string {
    let [line, column] = [1, 1];
    for (const character of this.characters.slice(0, at)) {
      if (character === "\n") [line, column] = [line + 1, 1];
      else column += character === "\t" ? 8 - ((column - 1) % 8) : 1;
    }
    return `(line ${line}, column ${column})`;
  }

  private outcome<T>(parser: Parser<T>): Outcome<T> {
    const [start, pending] = [this.at, this.pending];
    this.pending = silent(start);
    try {
      const value = parser(this);
      return { value, failed: false, consumed: this.at !== start, complaint: this.pending };
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return { failed: true, consumed: this.at !== start, complaint: error.complaint };
    } finally {
      this.pending = pending;
    }
  }

  private settle<T>({ value, failed, consumed, complaint }: Outcome<T>): T {
    const total = consumed ? complaint : merged(this.pending, complaint);
    if (failed) throw new Unreadable(total);
    this.pending = total;
    return value as T;
  }

  private fail(complaint: Complaint): never {
    throw new Unreadable(merged(this.pending, complaint));
  }
}

/** What a complaint says: `unexpected "x" expecting "a", "b" or end of input`. */
export function wordsOf({ character, found, expected }: Complaint): string {
  const unexpected = found.length > 0 ? listed(found) : character;
  const parts = [
    unexpected === undefined ? "" : `unexpected ${unexpected === "" ? "end of input" : unexpected}`,
    expected.length > 0 ? `expecting ${listed(expected)}` : "",
  ];
  return parts.filter((part) => part !== "").join(" ") || "unknown parse error";
}

function listed(items: readonly string[]): string {
  const unique = [...new Set(items)];
  const last = unique.pop()!;
  return unique.length === 0 ? last : `${unique.join(", ")} or ${last}`;
}

function silent(at: number): Complaint {
  return { at, found: [], expected: [] };
}

function isMeaningful({ character, found, expected }: Complaint): boolean {
  return character !== undefined || found.length > 0 || expected.length > 0;
}

function merged(a: Complaint, b: Complaint): Complaint {
  if (!isMeaningful(b)) return a;
  if (!isMeaningful(a)) return b;
  if (a.at !== b.at) return a.at > b.at ? a : b;
  return {
    at: a.at,
    character: a.character ?? b.character,
    found: a.found.concat(b.found),
    expected: a.expected.concat(b.expected),
  };
}

/** A character or text in quotes, as Haskell shows it. The end of the text is "". */
function shown(text: string | undefined, quote = '"'): string {
  if (text === undefined) return "";
  const escaped = Array.from(text, (character) => {
    if (character === "\\" || character === quote) return `\\${character}`;
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    const code = character.codePointAt(0)!;
    return code < 32 || code > 126 ? `\\${code}` : character;
  });
  return quote + escaped.join("") + quote;
}
