import { Reader, Unreadable, wordsOf } from "./reader.ts";
import type { Parser } from "./reader.ts";
import { refuse } from "./errors.ts";

// The language of PostgREST's query strings (https://docs.postgrest.org/en/v14/references/api/tables_views.html).
// What a rule is called, and in which order alternatives stand, shows in the words of an error.

/** A column, or a place inside a json column: `data->a->>b`. */
export interface Field {
  name: string;
  path: readonly JsonStep[];
}

/** One step into a json document. */
export interface JsonStep {
  arrow: "->" | "->>";
  key: string;
  /** `key` is a number and means the element of an array. */
  isIndex: boolean;
}

/** One item of `select`. */
export type SelectItem = SelectedField | SelectedRelation;

export interface SelectedField {
  kind: "field";
  /** The name `*` means every column. */
  field: Field;
  cast?: string | undefined;
  alias?: string | undefined;
  isAggregate: boolean;
}

export interface SelectedRelation {
  kind: "relation";
  relation: string;
  alias?: string | undefined;
  hint?: string | undefined;
  join?: "inner" | "left" | undefined;
  /** `...relation(columns)`: its columns stand among those of the row around it. */
  isSpread: boolean;
  items: readonly SelectItem[];
}

/** What a field is compared with, and how. */
export type Operation =
  | { kind: "compare"; operator: string; quantifier?: "any" | "all" | undefined; value: string }
  | { kind: "in"; values: readonly string[] }
  | { kind: "is"; value: string }
  | { kind: "distinct"; value: string }
  | { kind: "search"; parser: string; language?: string | undefined; value: string };

/** `age=not.gt.5` */
export interface Filter {
  kind: "filter";
  field: Field;
  negated: boolean;
  operation: Operation;
}

/** A filter, or several with `and` or `or` between them. */
export type Condition = Filter | Junction;

export interface Junction {
  kind: "junction";
  operator: "and" | "or";
  negated: boolean;
  conditions: readonly Condition[];
}

export interface OrderTerm {
  /** The embedded relation whose field it is. */
  relation?: string | undefined;
  field: Field;
  direction?: "asc" | "desc" | undefined;
  nulls?: "nulls first" | "nulls last" | undefined;
}

/** Names of embedded relations, from the outside in. */
export type Path = readonly string[];

/** Operators that stand between a field and one value, by their short names. */
const PLAIN_OPERATORS = {
  neq: "<>",
  cs: "@>",
  cd: "<@",
  ov: "&&",
  sl: "<<",
  sr: ">>",
  nxr: "&<",
  nxl: "&>",
  adj: "-|-",
};

/** Those that take `(any)` and `(all)`. A name comes before one that it begins with. */
const QUANTIFIED_OPERATORS = {
  eq: "=",
  gte: ">=",
  gt: ">",
  lte: "<=",
  lt: "<",
  like: "like",
  ilike: "ilike",
  match: "~",
  imatch: "~*",
};

const SEARCH_PARSERS = {
  fts: "to_tsquery",
  plfts: "plainto_tsquery",
  phfts: "phraseto_tsquery",
  wfts: "websearch_to_tsquery",
};

const spaces: Parser<void> = (r) => void r.many(() => r.one(isOneOf(" \t")));

function lexeme<T>(parser: Parser<T>): Parser<T> {
  return (r) => {
    spaces(r);
    const value = parser(r);
    spaces(r);
    return value;
  };
}

const quoted: Parser<string> = (r) => {
  r.char('"');
  const characters = r.many(() =>
    r.or(
      () => r.one((c) => c !== "\\" && c !== '"'),
      () => {
        r.char("\\");
        return r.one(() => true);
      },
    ),
  );
  r.char('"');
  return characters.join("");
};

const identifier: Parser<string> = (r) => {
  const letters = r.many1(() =>
    r.or(
      () => r.one((c) => /\p{L}/u.test(c), "letter"),
      () => r.one((c) => /[0-9]/.test(c), "digit"),
      () => r.one(isOneOf("_ $")),
    ),
  );
  return letters.join("").trim();
};

function withDashes(part: Parser<string>): Parser<string> {
  return (r) =>
    r
      .separated(part, () =>
        r.attempt(() => {
          r.char("-");
          r.notAhead(() => r.char(">"));
        }),
      )
      .join("-");
}

const name: Parser<string> = (r) =>
  r.named("field name (* or [a..z0..9_$])", () => r.or(quoted, withDashes(identifier)));

const delimiter: Parser<string> = (r) => r.named("delimiter (.)", () => r.char("."));

const jsonKey: Parser<string> = (r) =>
  r.named("any non reserved character different from: .,>()", () =>
    r.or(
      quoted,
      withDashes(() =>
        r
          .many1(() => r.one(isNoneOf("(-:.,>)")))
          .join("")
          .trim(),
      ),
    ),
  );

const jsonIndex: Parser<string> = (r) => {
  const sign = r.optional(() => r.char("-")) ?? "";
  const digits = r.many1(() => r.one((c) => /[0-9]/.test(c), "digit")).join("");
  const ends = ["->", "::", ".", ","].map(
    (end): Parser<void> =>
      () =>
        r.attempt(() => r.ahead(() => r.text(end))),
  );
  r.or(ends[0]!, ends[1]!, ends[2]!, ends[3]!, () => r.attempt(() => r.end()));
  return sign + digits;
};

const jsonStep: Parser<JsonStep> = (r) => {
  const arrow = r.or(
    () => r.attempt(() => r.text("->>")),
    () => r.attempt(() => r.text("->")),
  ) as JsonStep["arrow"];
  return r.or<JsonStep>(
    () => r.attempt(() => ({ arrow, key: jsonIndex(r), isIndex: true })),
    () => r.attempt(() => ({ arrow, key: jsonKey(r), isIndex: false })),
  );
};

const field: Parser<Field> = (r) => ({ name: name(r), path: r.many(jsonStep) });

const alias: Parser<string | undefined> = (r) =>
  r.optional(() =>
    r.attempt(() => {
      const found = name(r);
      r.char(":");
      r.notAhead(() => r.char(":"));
      return found;
    }),
  );

const cast: Parser<string | undefined> = (r) =>
  r.optional(() => {
    r.text("::");
    return identifier(r);
  });

const endOfItem: Parser<void> = (r) =>
  r.or(
    () => r.attempt(() => r.ahead(() => r.text(")"))),
    () => r.attempt(() => r.ahead(() => r.text(","))),
    () => r.attempt(() => r.end()),
  );

const aggregate: Parser<boolean> = (r) =>
  r.or<boolean>(
    () =>
      r.attempt(() => {
        r.char(".");
        r.or(
          () => r.text("sum"),
          () => r.text("avg"),
          () => r.text("count"),
          () => r.attempt(() => r.text("max")),
          () => r.attempt(() => r.text("min")),
        );
        r.text("()");
        return true;
      }),
    () => false,
  );

const selectedField: Parser<SelectItem> = lexeme((r) =>
  r.or<SelectItem>(
    () =>
      r.attempt(() => {
        r.text("*");
        endOfItem(r);
        return { kind: "field", field: { name: "*", path: [] }, isAggregate: false };
      }),
    () =>
      r.attempt(() => {
        alias(r);
        r.text("count()");
        cast(r);
        endOfItem(r);
        return { kind: "field", field: { name: "*", path: [] }, isAggregate: true };
      }),
    () => {
      const item = { kind: "field" as const, alias: alias(r), field: lexeme(field)(r), cast: cast(r) };
      const isAggregate = aggregate(r);
      cast(r);
      endOfItem(r);
      return { ...item, isAggregate };
    },
  ),
);

interface EmbedParameters {
  hint?: string | undefined;
  join?: "inner" | "left" | undefined;
}

const embedParameters: Parser<EmbedParameters> = (r) => {
  const one: Parser<EmbedParameters> = () => {
    r.char("!");
    return r.or<EmbedParameters>(
      () => r.attempt(() => ({ join: r.text("left") as "left" })),
      () => r.attempt(() => ({ join: r.text("inner") as "inner" })),
      () => r.attempt(() => ({ hint: name(r) })),
    );
  };
  const [first, second] = [r.optional(one), r.optional(one)];
  return { hint: first?.hint ?? second?.hint, join: first?.join ?? second?.join };
};

function relation(isSpread: boolean): Parser<SelectItem> {
  const head: Parser<Omit<SelectedRelation, "items">> = lexeme((r) => {
    if (isSpread) r.text("...");
    const label = isSpread ? undefined : alias(r);
    const asked = name(r);
    // `count()` is an aggregate.
    if (!isSpread && asked === "count") r.or();
    const parameters = embedParameters(r);
    r.attempt(() => r.ahead(() => r.text("(")));
    return { kind: "relation", relation: asked, alias: label, isSpread, ...parameters };
  });
  return (r) => ({ ...r.attempt(head), items: r.between("(", ")", selectItems) });
}

const selectItems: Parser<SelectItem[]> = (r) =>
  r.or<SelectItem[]>(
    () =>
      r.separated(
        () => r.or(relation(true), relation(false), selectedField),
        lexeme(() => r.char(",")),
      ),
    () => [],
  );

/** The first of some words that stands here, and what it means. */
function word<T>(words: Readonly<Record<string, T>>): Parser<T> {
  const alternatives = Object.entries(words).map(
    ([short, meaning]): Parser<T> =>
      (r) =>
        r.attempt(() => {
          r.text(short);
          return meaning;
        }),
  );
  return (r) => r.or(...alternatives);
}

const negation: Parser<boolean> = (r) =>
  r.or<boolean>(
    () =>
      r.attempt(() => {
        r.text("not");
        delimiter(r);
        return true;
      }),
    () => false,
  );

function operatorExpression(value: Parser<string>): Parser<{ negated: boolean; operation: Operation }> {
  const starting =
    (short: string): Parser<void> =>
    (r) =>
      r.attempt(() => {
        r.text(short);
        delimiter(r);
      });
  const operation: Parser<Operation> = (r) =>
    r.named("operator (eq, gt, ...)", () =>
      r.or<Operation>(
        () => {
          starting("in")(r);
          return { kind: "in", values: list(r) };
        },
        () => {
          starting("is")(r);
          return { kind: "is", value: isValue(r) };
        },
        () => {
          starting("isdistinct")(r);
          return { kind: "distinct", value: value(r) };
        },
        () =>
          r.attempt(() => {
            const parser = word(SEARCH_PARSERS)(r);
            const language = r.optional(() => r.attempt(() => r.between("(", ")", identifier)));
            delimiter(r);
            return { kind: "search", parser, language, value: value(r) };
          }),
        () =>
          r.attempt(() => {
            const operator = r.named("unknown single value operator", word(PLAIN_OPERATORS));
            delimiter(r);
            return { kind: "compare", operator, value: value(r) };
          }),
        () =>
          r.attempt(() => {
            const operator = r.named("unknown single value operator", word(QUANTIFIED_OPERATORS));
            const quantifier = r.optional(() =>
              r.attempt(() =>
                r.between("(", ")", () =>
                  r.or<"any" | "all">(
                    () => r.attempt(() => r.text("any") as "any"),
                    () => r.text("all") as "all",
                  ),
                ),
              ),
            );
            delimiter(r);
            return { kind: "compare", operator, quantifier, value: value(r) };
          }),
      ),
    );
  return (r) => {
    const negated = negation(r);
    return { negated, operation: operation(r) };
  };
}

const isValue: Parser<string> = (r) => {
  const words = { null: "null", not_null: "not null", true: "true", false: "false", unknown: "unknown" };
  const alternatives = Object.entries(words).map(
    ([short, sql]): Parser<string> =>
      () =>
        r.attempt(() => {
          for (const letter of short) {
            r.or(
              () => r.char(letter),
              () => r.char(letter.toUpperCase()),
            );
          }
          return sql;
        }),
  );
  return r.named("isVal: (null, not_null, true, false, unknown)", () => r.or(...alternatives));
};

const anything: Parser<string> = (r) => r.many(() => r.one(() => true)).join("");

const quotedElement: Parser<string> = (r) =>
  r.attempt(() => {
    const value = quoted(r);
    r.notAhead(() => r.one(isNoneOf(",)")));
    return value;
  });

const bareElement: Parser<string> = (r) => r.many(() => r.one(isNoneOf(",)"))).join("");

const list: Parser<string[]> = (r) => {
  lexeme(() => r.char("("))(r);
  const values = r.separated(
    () => r.or(quotedElement, bareElement),
    () => r.char(","),
  );
  lexeme(() => r.char(")"))(r);
  return values;
};

/** A value inside `and` and `or`, where commas and brackets end it. */
const valueInside: Parser<string> = (r) =>
  r.or(
    quotedElement,
    () =>
      r.attempt(() => {
        const open = r.text("{");
        const inner = r.many(() => r.one(isNoneOf("{}"))).join("");
        return open + inner + r.text("}");
      }),
    bareElement,
  );

const condition: Parser<Condition> = (r) =>
  r.or<Condition>(
    () =>
      r.attempt(() => {
        const where = lexeme(field)(r);
        delimiter(r);
        return { kind: "filter", field: where, ...operatorExpression(valueInside)(r) };
      }),
    () => {
      const negated = r.named("negation operator (not)", negation);
      const operator = r.named("logic operator (and, or)", () =>
        r.or<"and" | "or">(
          () => r.attempt(() => r.text("and") as "and"),
          () => r.text("or") as "or",
        ),
      );
      lexeme(() => r.char("("))(r);
      const conditions = r.separated(
        condition,
        lexeme(() => r.char(",")),
      );
      lexeme(() => r.char(")"))(r);
      return { kind: "junction", operator, negated, conditions };
    },
  );

const orderTerm: Parser<OrderTerm> = (r) => {
  const suffix = <T>(words: Readonly<Record<string, T>>): Parser<T> => {
    const alternatives = Object.entries(words).map(
      ([short, meaning]): Parser<T> =>
        () =>
          r.attempt(() => {
            delimiter(r);
            r.text(short);
            return meaning;
          }),
    );
    return () => r.or(...alternatives);
  };
  const end: Parser<void> = () =>
    r.or(
      () => r.attempt(() => r.ahead(() => r.char(","))),
      () => r.attempt(() => r.end()),
    );
  const rest: Parser<Pick<OrderTerm, "direction" | "nulls">> = () => {
    const direction = r.optional(suffix({ asc: "asc" as const, desc: "desc" as const }));
    const nulls = r.optional(
      suffix({ nullsfirst: "nulls first" as const, nullslast: "nulls last" as const }),
    );
    end(r);
    return { direction, nulls };
  };
  return r.or<OrderTerm>(
    () =>
      r.attempt(() => {
        const asked = name(r);
        const by = r.between("(", ")", lexeme(field));
        return { relation: asked, field: by, ...rest(r) };
      }),
    () => {
      const by = lexeme(field)(r);
      return { field: by, ...rest(r) };
    },
  );
};

const order: Parser<OrderTerm[]> = (r) => r.separated(lexeme(orderTerm), () => r.char(","));

const names: Parser<string[]> = (r) =>
  r.separated(
    name,
    lexeme(() => r.char(",")),
  );

const fieldPath: Parser<{ path: Path; field: Field }> = (r) => {
  const parts = r.separated(name, delimiter);
  const last = parts.pop()!;
  return { path: parts, field: { name: last, path: r.many(jsonStep) } };
};

/** Reads `select`. */
export function readSelect(text: string): SelectItem[] {
  return read(`failed to parse select parameter (${text})`, text, selectItems);
}

/** Reads `columns` or `on_conflict`. */
export function readNames(parameter: string, text: string): string[] {
  return read(`failed to parse ${parameter} parameter (${text})`, text, names);
}

/** Reads the name of a parameter as a field, below the embedded relations that it names first. */
export function readPath(text: string): { path: Path; field: Field } {
  return read(`failed to parse tree path (${text})`, text, fieldPath);
}

/** Reads `order`. */
export function readOrder(text: string): OrderTerm[] {
  return read(`failed to parse order (${text})`, text, order);
}

/**
 * Reads a filter's operator and value.
 *
 * @param orArgument whether a text without an operator is an argument of a function: undefined then.
 */
export function readOperation(
  text: string,
  orArgument: boolean,
): { negated: boolean; operation: Operation } | undefined {
  const expression = operatorExpression(anything);
  return read(`failed to parse filter (${text})`, text, (r) =>
    orArgument ? r.optional(expression) : expression(r),
  );
}

/** Reads `and`, `or`, `not.and` and `not.or`, at the top or below embedded relations. */
export function readJunction(key: string, text: string): { path: Path; condition: Condition } {
  const parts = read(`failed to parse logic path (${key})`, key, (r) => r.separated(name, delimiter));
  const operator = parts.pop()!;
  const not = parts.includes("not") ? "not." : "";
  return {
    path: parts.filter((part) => part !== "not"),
    condition: read(`failed to parse logic tree (${text})`, `${not}${operator}${text}`, condition),
  };
}

function read<T>(what: string, text: string, parser: Parser<T>): T {
  const reader = new Reader(text);
  try {
    return parser(reader);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    const place = reader.place(error.complaint);
    return refuse(400, "PGRST100", `"${what}" ${place}`, { details: wordsOf(error.complaint) });
  }
}

function isOneOf(characters: string): (character: string) => boolean {
  return (character) => characters.includes(character);
}

function isNoneOf(characters: string): (character: string) => boolean {
  return (character) => !characters.includes(character);
}
