import { expect } from "vitest";
import { checkInstallation } from "../../packages/tokenbook/src/data/installation.ts";
import type { Database } from "./database.ts";

/** The doctor finds all of ours as it was made. How the server of the tests is set, and the project, are not ours. */
export async function expectSoundInstallation(db: Database): Promise<void> {
  const found = (await checkInstallation(db.admin)).filter(
    ({ subject, status }) => status !== "ok" && subject !== "durability" && subject !== "the project",
  );
  expect(found).toEqual([]);
}
