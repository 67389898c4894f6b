// @module-tag proof
import { expect, test } from "vitest";
import { Refusal } from "local-platform/gateway/http";
import {
  readJunction,
  readNames,
  readOperation,
  readOrder,
  readSelect,
} from "local-platform/rest/query-language";
import { mostSimilar } from "local-platform/rest/similar";

type Read = (text: string) => unknown;

const select: Read = (text) => readSelect(text);
const order: Read = (text) => readOrder(text);
const filter: Read = (text) => readOperation(text, false);
const or: Read = (text) => readJunction("or", text);
const columns: Read = (text) => readNames("columns", text);

/** What PostgREST says about texts that it can't read: the examples of its own documentation and tests. */
const COMPLAINTS: [Read, text: string, column: number, words: string][] = [
  [
    select,
    "id,clients(name[])",
    16,
    `unexpected '[' expecting letter, digit, "-", "->>", "->", "::", ".", ")", "," or end of input`,
  ],
  [select, "data->>-78xy", 11, `unexpected 'x' expecting digit, "->", "::", ".", "," or end of input`],
  [select, "data->>--34", 9, `unexpected "-" expecting digit`],
  [select, "data->>-xy-4", 9, `unexpected "x" expecting digit`],
  [
    select,
    "name!hint",
    5,
    `unexpected '!' expecting letter, digit, "-", "->>", "->", "::", ".", ")", "," or end of input`,
  ],
  [select, "name::", 7, "unexpected end of input expecting letter or digit"],
  [
    select,
    "data->(x->>y",
    7,
    `unexpected "(" expecting "-", digit or any non reserved character different from: .,>()`,
  ],
  [filter, "noop.0", 1, `unexpected "o" expecting "not" or operator (eq, gt, ...)`],
  [filter, "fts().value", 5, `unexpected ")" expecting operator (eq, gt, ...)`],
  [filter, "eq().value", 4, `unexpected ")" expecting operator (eq, gt, ...)`],
  [filter, "is().value", 3, `unexpected "(" expecting operator (eq, gt, ...)`],
  [filter, "in().value", 3, `unexpected "(" expecting operator (eq, gt, ...)`],
  [order, "id.ac", 4, `unexpected "c" expecting "asc", "desc", "nullsfirst" or "nullslast"`],
  [order, "id.descc", 8, `unexpected 'c' expecting delimiter (.), "," or end of input`],
  [order, "id.nulsfist", 4, `unexpected "n" expecting "asc", "desc", "nullsfirst" or "nullslast"`],
  [order, "id.nullslasttt", 13, `unexpected 't' expecting "," or end of input`],
  [order, "id.asc.nlsfst", 8, `unexpected "l" expecting "nullsfirst" or "nullslast"`],
  [
    order,
    "clients(name,id)",
    8,
    `unexpected '(' expecting letter, digit, "-", "->>", "->", delimiter (.), "," or end of input`,
  ],
  [
    or,
    "()",
    4,
    `unexpected ")" expecting field name (* or [a..z0..9_$]), negation operator (not) or logic operator (and, or)`,
  ],
  [or, "(id.in.1,2,id.eq.3)", 10, `unexpected "1" expecting "("`],
  [or, ")(", 3, `unexpected ")" expecting "("`],
  [or, "(ord(id.eq.1,id.eq.1),id.eq.2)", 6, `unexpected "d" expecting "("`],
  [or, "(id.eq.1,not.xor(id.eq.2,id.eq.3))", 16, `unexpected "x" expecting logic operator (and, or)`],
  [columns, "", 1, "unexpected end of input expecting field name (* or [a..z0..9_$])"],
];

test.each(COMPLAINTS)("%# a complaint has PostgREST's words", async (read, text, column, words) => {
  const refusal = refusalOf(() => read(text));
  expect(refusal.status).toBe(400);
  expect(await refusal.json()).toEqual({
    code: "PGRST100",
    details: words,
    hint: null,
    message: expect.stringMatching(new RegExp(`^"failed to parse .*" \\(line 1, column ${column}\\)$`)),
  });
});

test("select reads columns, casts, paths, embedded relations and spreads", () => {
  expect(select('a, b:"with, comma"::int ,c->d->>0,*,e:f!g!inner(h,...i(j)),k()')).toEqual([
    field("a"),
    { ...field("with, comma"), alias: "b", cast: "int" },
    {
      ...field("c"),
      field: {
        name: "c",
        path: [
          { arrow: "->", key: "d", isIndex: false },
          { arrow: "->>", key: "0", isIndex: true },
        ],
      },
    },
    field("*"),
    {
      ...relation("f"),
      alias: "e",
      hint: "g",
      join: "inner",
      items: [field("h"), { ...relation("i"), isSpread: true, items: [field("j")] }],
    },
    relation("k"),
  ]);
});

test("a name that begins with an operator's or a hint's word is still a name", () => {
  expect(or("(not_it.eq.1,order.in.(1),android.is.null)")).toMatchObject({
    condition: { conditions: [{ field: { name: "not_it" } }, { field: { name: "order" } }, {}] },
  });
  expect(filter("not.like.x")).toMatchObject({ negated: true, operation: { operator: "like", value: "x" } });
  expect(filter("gte.1")).toMatchObject({ operation: { operator: ">=" } });
});

test("values keep what they are: quotes, commas, brackets, points", () => {
  expect(filter('in.("a,b","c\\"d",e f,)')).toMatchObject({
    operation: { values: ["a,b", 'c"d', "e f", ""] },
  });
  expect(filter('eq."a.b",(c)')).toMatchObject({ operation: { value: '"a.b",(c)' } });
  expect(or('(a.eq."x,y)",b.cs.{1,2},c.eq.(z)')).toMatchObject({
    condition: {
      conditions: [{ operation: { value: "x,y)" } }, { operation: { value: "{1,2}" } }, {}],
    },
  });
});

test("a hint names what resembles a name enough, and nothing else", () => {
  const names = ["list_open_orders_of", "cancel_order", "list_makers"];
  expect(mostSimilar("list_open_orders_o", names, 0.75)).toBe("list_open_orders_of");
  expect(mostSimilar("CANCEL_ORDER", names, 0.75)).toBe("cancel_order");
  expect(mostSimilar("cancel", names, 0.75)).toBeUndefined();
  expect(mostSimilar("zzz", names, 0.33)).toBeUndefined();
});

function field(name: string): Record<string, unknown> {
  return { kind: "field", field: { name, path: [] }, isAggregate: false };
}

function relation(name: string): Record<string, unknown> {
  return { kind: "relation", relation: name, isSpread: false, items: [] };
}

function refusalOf(run: () => unknown): Response {
  try {
    run();
  } catch (error) {
    if (error instanceof Refusal) return error.response;
    throw error;
  }
  throw new Error("read without a complaint");
}
