import { expect, test } from "vitest";
import { buildFromSchemas } from "../../scripts/schema/build-from-schemas.ts";
import {
  type Catalog,
  compareCatalogs,
  describeDifference,
  readCatalog,
} from "../../scripts/schema/catalog.ts";
import { schemaFiles } from "../../scripts/schema/project-files.ts";
import { createDatabase } from "../support/database.ts";

const onlyFunctionPrivileges = (catalog: Catalog): Catalog =>
  new Map([...catalog].filter(([fact]) => /^function .* · privileges of /.test(fact)));

test("each function's file grants what the matrix of all privileges grants", async () => {
  const files = await schemaFiles();
  const withoutMatrix = files.filter((file) => !file.endsWith("/70_privileges.sql"));
  const [matrix, alone] = await Promise.all([createDatabase(), createDatabase({ template: "platform" })]);
  await buildFromSchemas(alone.url(), withoutMatrix);

  const stated = onlyFunctionPrivileges(await readCatalog(matrix.url()));
  const differences = compareCatalogs(stated, onlyFunctionPrivileges(await readCatalog(alone.url())));
  await alone.admin.query("grant execute on function public.grant_tokens to anon");
  const control = compareCatalogs(stated, onlyFunctionPrivileges(await readCatalog(alone.url())));
  await Promise.all([matrix.drop(), alone.drop()]);

  expect(withoutMatrix).toHaveLength(files.length - 1);
  expect(differences.map((difference) => describeDifference(difference, "matrix", "files"))).toEqual([]);
  expect(control.map(({ fact }) => fact)).toEqual([
    expect.stringMatching(/^function public\.grant_tokens\(.*\) · privileges of anon$/),
  ]);
});
