/** Sentences of comments as Markdown: names are code, and lead to where they are explained. */
import type { ApiDescription } from "../api-description.ts";

export class Words {
  readonly #functions: ReadonlySet<string>;
  readonly #relations: ReadonlySet<string>;

  constructor(api: ApiDescription) {
    this.#functions = new Set(api.functions.map(({ name }) => name));
    this.#relations = new Set(api.relations.map(({ name }) => name));
  }

  /** @param own the function that is being described, which needs no link to itself */
  inMarkdown(text: string, own = ""): string {
    return text
      .split(/(`[^`]*`)/)
      .map((part, n) => (n % 2 === 1 ? part : this.#prose(part, own)))
      .join("");
  }

  /** The same in a cell of a table. */
  inCell(text: string, own = ""): string {
    return this.inMarkdown(text, own).replaceAll("|", "\\|").replaceAll("\n", " ");
  }

  #prose(text: string, own: string): string {
    return text
      .replaceAll(/[*<]/g, "\\$&")
      .replaceAll(/\(Lists, in the reference\)|\bLists( in the reference)?\b/g, (it) =>
        it.startsWith("(") ? "([Lists](#lists))" : "[Lists](#lists)",
      )
      .replaceAll(/\b(?:[a-z]\.)?[a-z0-9]+(?:_[a-z0-9]+)+(?:\.[a-z_]+)?\b/g, (name) => {
        if (name !== own && (this.#functions.has(name) || this.#relations.has(name)))
          return `[\`${name}\`](#${name})`;
        return `\`${name}\``;
      });
  }
}
