/** Machines read every command. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { known } from "../docs/snippets/commands.ts";

test("every command has --json, and the list of commands is whole", () => {
  const commands = known.flatMap((one) => (one.commands.length > 0 ? one.commands : [one]));
  const without = commands.filter((one) => !one.options.some(({ long }) => long === "--json"));
  expect(without.map((one) => one.name())).toEqual([]);
  const files = readdirSync(join(projectRoot, "packages/tokenbook/src/commands"));
  expect(known.map((one) => `${one.name()}.ts`).toSorted()).toEqual(files.toSorted());
});
