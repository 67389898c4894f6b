/** The words of a file of SQL, as MySQL and MariaDB write it, piece by piece: no more of it is held than one of them. */

/** `name`: quoted as one; `text`: a string; `sign`: one of `( ) , ;`. */
export interface Token {
  kind: "word" | "name" | "text" | "sign" | "comment";
  value: string;
}

export interface Tokens {
  /** The next piece of the file. */
  write(piece: string): void;
  /** @returns whether the file ends where a token does. */
  end(): boolean;
}

/** No id, address or number is as long: of a longer text this much is kept. */
const kept = 10_000;

const escapes: Record<string, string> = { "0": "\0", b: "\b", n: "\n", r: "\r", t: "\t", Z: "\u001A" };

/** What ends each state, or has a meaning of its own in it. */
const ends: Record<string, RegExp> = {
  "'": /['\\]/g,
  '"': /["\\]/g,
  "`": /`/g,
  "--": /\n/g,
  "/*": /\*\//g,
  skip: /\n/g,
};

const word = /(?:[^\s(),;'"`#/]|\/(?!\*))+/y;

export function readTokens(onToken: (token: Token) => void): Tokens {
  let held = "";
  let state: "between" | "'" | '"' | "`" | "--" | "/*" | "skip" = "between";
  let value = "";
  let isLineBegin = true;
  const keep = (text: string) => {
    if (value.length < kept) value += text;
  };
  const give = (kind: Token["kind"]) => {
    onToken({ kind, value });
    value = "";
    state = "between";
    isLineBegin = kind === "comment";
  };

  /** Reads what can be read for sure; @returns where it came to. */
  function read(text: string, isLast: boolean): number {
    let at = 0;
    while (at < text.length) {
      if (state === "between") {
        const sign = text[at]!;
        if (/\s/.test(sign)) {
          isLineBegin ||= sign === "\n";
          at++;
          continue;
        }
        if (text.length - at < 3 && !isLast) return at; // "--" and what is behind it
        if ("(),;".includes(sign)) {
          value = sign;
          give("sign");
          at++;
        } else if (sign === "'" || sign === '"' || sign === "`") {
          state = sign;
          at++;
        } else if (sign === "#" || (sign === "-" && /^--(\s|$)/.test(text.slice(at, at + 3)))) {
          state = "--";
        } else if (text.startsWith("/*", at)) {
          state = "/*";
          at += 2;
        } else {
          word.lastIndex = at;
          const [found] = word.exec(text)!;
          const end = at + found.length;
          if (end === text.length && !isLast && found.length < kept) return at;
          if (isLineBegin && /^delimiter$/i.test(found)) {
            // a routine or a trigger: its statements are none of the dump's
            const line = text.indexOf("\n", at);
            if (line < 0 && !isLast) return at;
            const rest = text.slice(end, line < 0 ? undefined : line).trim();
            at = line < 0 ? text.length : line + 1;
            if (rest !== ";") state = "skip";
            continue;
          }
          value = found;
          give("word");
          at = end;
        }
        continue;
      }
      const special = ends[state]!;
      special.lastIndex = at;
      const found = special.exec(text);
      if (!found) {
        // the last sign may be the first half of what ends it
        const until = isLast || state !== "/*" ? text.length : Math.max(at, text.length - 1);
        keep(text.slice(at, until));
        return until;
      }
      const end = found.index;
      if (state === "skip") {
        keep(text.slice(at, end));
        const isOver = /^\s*delimiter\s+;\s*$/i.test(value);
        value = "";
        if (isOver) state = "between";
        at = end + 1;
      } else if (state === "--" || state === "/*") {
        keep(text.slice(at, end));
        at = end + found[0].length;
        give("comment");
      } else if (end + 1 >= text.length && !isLast) {
        keep(text.slice(at, end));
        return end; // a second quote, or what is escaped, may follow
      } else if (found[0] === "\\") {
        keep(text.slice(at, end) + (escapes[text[end + 1]!] ?? text[end + 1] ?? ""));
        at = end + 2;
      } else if (text[end + 1] === state) {
        keep(text.slice(at, end) + state);
        at = end + 2;
      } else {
        keep(text.slice(at, end));
        at = end + 1;
        give(state === "'" ? "text" : "name");
      }
    }
    return text.length;
  }

  return {
    write(piece) {
      const text = held + piece;
      held = text.slice(read(text, false));
    },
    end() {
      read(`${held}\n`, true);
      return state === "between";
    },
  };
}
