/** The shapes of answers, read from the types in which they are written. */
import { join } from "node:path";
import { createGenerator, type Schema } from "ts-json-schema-generator";
import { projectRoot } from "../../project.ts";

/** A shape, as JSON Schema has it. */
export interface Shape {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Shape[];
  items?: Shape;
  properties?: Record<string, Shape>;
  required?: string[];
  description?: string;
}

/** A field of an answer. Of an answer that comes in several forms, `type` is of all of them. */
export interface ShapeField {
  name: string;
  types: Shape[];
  /** Whether it is there always. */
  isAlways: boolean;
  description: string | undefined;
}

/** The types of a file as one JSON schema; takes some seconds the first time, as the compiler does. */
export function schemaOf(file: string): Schema {
  const known = read.get(file);
  if (known !== undefined) return known;
  const schema = createGenerator({
    path: join(projectRoot, file),
    tsconfig: join(projectRoot, "tsconfig.json"),
    type: "*",
    additionalProperties: false,
    skipTypeCheck: true, // tsc has
  }).createSchema();
  read.set(file, schema);
  return schema;
}

const read = new Map<string, Schema>();

/** Where the answers of all functions are typed. */
export const everyAnswerFile = "scripts/schema/reference/other-answers.ts";

/** What each function answers, and the types that are named in it. */
export class Shapes {
  readonly #named: Record<string, Shape>;
  readonly #rows: Map<string, string>;
  readonly answers: Record<string, Shape>;

  constructor(schema: Schema) {
    this.#named = schema.definitions as Record<string, Shape>;
    this.answers = this.#named.EveryAnswer!.properties!;
    const tables = this.#named.EveryRow!.properties!;
    this.#rows = new Map(Object.entries(tables).map(([table, shape]) => [nameOf(shape)!, table]));
  }

  /** The table whose row a named type is. */
  tableOf(name: string): string | undefined {
    return this.#rows.get(name);
  }

  /** The shape that a name stands for, with its name and what is said of it. */
  resolve(shape: Shape): Shape & { name?: string } {
    const name = nameOf(shape);
    if (name === undefined) return shape;
    const named = this.#named[name]!;
    return { ...this.resolve(named), ...(named.description && { description: named.description }), name };
  }

  /** The forms in which an object comes: one, or those of a union. */
  formsOf(shape: Shape): (Shape & { name?: string })[] {
    const resolved = this.resolve(shape);
    if (resolved.anyOf) return resolved.anyOf.flatMap((one) => this.formsOf(one));
    if (resolved.type === "array") return resolved.items ? this.formsOf(resolved.items) : [];
    return resolved.properties ? [resolved] : [];
  }

  /** The fields of all forms together, in the order in which they are written. */
  fieldsOf(shape: Shape): ShapeField[] {
    const forms = this.formsOf(shape);
    const names = new Set(forms.flatMap((form) => Object.keys(form.properties!)));
    return [...names].map((name) => {
      const having = forms.filter((form) => form.properties![name] !== undefined);
      return {
        name,
        types: having.map((form) => form.properties![name]!),
        isAlways: having.length === forms.length && having.every((form) => form.required?.includes(name)),
        description: having.map((form) => form.properties![name]!.description).find((it) => it !== undefined),
      };
    });
  }
}

export const nameOf = ({ $ref }: Shape): string | undefined =>
  $ref === undefined ? undefined : decodeURIComponent($ref.replace("#/definitions/", ""));

export function readShapes(): Shapes {
  return new Shapes(schemaOf(everyAnswerFile));
}
