/**
 * The types of `answers.ts` as JSON schemas, and a `fetch` that holds every answer of the data API against them: what the
 * compiler believes is what the database says.
 */
import { Ajv, type ValidateFunction } from "ajv";
import type { Answers, Rows } from "../../packages/tokenbook/src/client/answers.ts";
import { schemaOf } from "../../scripts/schema/reference/answer-shapes.ts";

export type FunctionName = keyof Answers;
export type TableName = keyof Rows;

export interface Schemas {
  functions: FunctionName[];
  tables: TableName[];
  /** What is wrong with an answer; undefined: nothing. */
  faultOf(what: string, answer: unknown): string | undefined;
}

/** @param file where the answers are typed, @param type with this name: by function */
export function schemasOfAnswers(
  file = "packages/tokenbook/src/client/answers.ts",
  type = "Answers",
  rows = "Rows",
): Schemas {
  const schema = schemaOf(file);
  const ajv = new Ajv({ allErrors: true, allowUnionTypes: true, strictTuples: false });
  ajv.addSchema(schema, "answers");
  const namesIn = (name: string) =>
    Object.keys((schema.definitions![name] as { properties: object }).properties);
  const [functions, tables] = [namesIn(type) as FunctionName[], namesIn(rows) as TableName[]];
  const pathOf = (what: string) =>
    functions.includes(what as FunctionName)
      ? `${type}/properties/${what}`
      : tables.includes(what as TableName)
        ? `${rows}/properties/${what}`
        : what;
  const known = new Map<string, ValidateFunction>();
  return {
    functions,
    tables,
    faultOf(what, answer) {
      const validate = known.get(what) ?? ajv.compile({ $ref: `answers#/definitions/${pathOf(what)}` });
      known.set(what, validate);
      if (validate(answer)) return undefined;
      return `${what}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(answer)}`;
    },
  };
}

/** What was answered, by function, table or edge function. */
export type Seen = Map<string, unknown[]>;

/** What edge functions answer, by the names of their types. */
const edge: Record<string, string> = { checkout: "CheckoutPage", payments: "PaymentsForAdmin" };

/** A `fetch` that notes what it brings. */
export function noting(seen: Seen): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const { pathname } = new URL(input instanceof Request ? input.url : String(input));
    const [, what] = /^\/(?:rest\/v1(?:\/rpc)?|functions\/v1)\/(\w+)$/.exec(pathname) ?? [];
    if (what === undefined || !response.ok) return response;
    const said: unknown = await response.clone().json();
    const isRows = !pathname.includes("/rpc/") && pathname.startsWith("/rest/");
    const answers = edge[what] !== undefined ? [said] : isRows ? (said as unknown[]) : [said];
    const name = edge[what] ?? what;
    seen.set(name, [...(seen.get(name) ?? []), ...answers]);
    return response;
  };
}
