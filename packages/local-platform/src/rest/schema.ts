import { catalogOf, LIST_FOREIGN_KEYS, LIST_TABLES } from "./catalog.ts";
import type { Catalog } from "./catalog.ts";
import { ROLE_SETTINGS, roleSettingsOf } from "./database.ts";
import type { ApiDatabase, Statement } from "./database.ts";
import { NotInSchema } from "./errors.ts";
import { apiFunctionsOf, LIST_FUNCTIONS } from "./functions.ts";
import type { ApiFunctions } from "./functions.ts";
import type { RoleSettings } from "./request-settings.ts";
import type { SchemaCache } from "./schema-cache.ts";

/** What requests need to know of the database. */
export interface ApiSchema {
  /** Changes when anything here does. */
  version: string;
  functions: ApiFunctions;
  catalog: Catalog;
  roleSettings: RoleSettings;
}

/** Reads what {@link ApiSchema} holds. pg_catalog hides nothing from `authenticator`, which has no rights of its own. */
export async function loadApiSchema(database: ApiDatabase, version: string): Promise<ApiSchema> {
  const read = (statement: Statement) => database.run([["search_path", ""]], statement, true);
  const [functions, tables, foreignKeys, roleSettings] = await Promise.all([
    read(LIST_FUNCTIONS),
    read(LIST_TABLES),
    read(LIST_FOREIGN_KEYS),
    read(ROLE_SETTINGS),
  ]);
  return {
    version,
    functions: apiFunctionsOf(functions),
    catalog: catalogOf(tables, foreignKeys),
    roleSettings: roleSettingsOf(roleSettings),
  };
}

/** Plans with the schema as it is known, and again with the schema as it is if a name is not in there. */
export async function planned<T>(schema: SchemaCache<ApiSchema>, plan: (schema: ApiSchema) => T): Promise<T> {
  const known = await schema.get();
  try {
    return plan(known);
  } catch (error) {
    if (!(error instanceof NotInSchema)) throw error;
    const current = await schema.refresh();
    if (current === known) throw error;
    return plan(current);
  }
}

/**
 * A statement as another one than it was before the schema changed. Connections keep what they have
 * prepared, and there a value has the type that its column had then.
 */
export function statementOf(version: string, { text, values }: Statement): Statement {
  return { text: `/* schema ${version} */ ${text}`, values };
}
