/** Applying what was just written into a project's folder, or taking it away again. */
import { basename } from "node:path";
import type pg from "pg";
import { migrationUp } from "local-platform/project/supabase-cli";
import { Refusal } from "../command.ts";
import { appliedVersions } from "./migrations.ts";

/** What is applied, where, and by which Supabase CLI. */
type Applying = Parameters<typeof migrationUp>[0];

/**
 * Applies migrations that were written a moment ago. Where the CLI refuses and none of them is applied, `takeAway` is
 * called, and the folder is as it was; one that is applied stays, with the rest, as the project's history.
 *
 * @param files the migrations, by path or name.
 * @returns the files that were applied.
 * @throws Refusal when nothing was applied.
 */
export async function applyWritten(
  client: pg.Client,
  applying: Applying,
  files: Iterable<string>,
  takeAway: () => void,
): Promise<string[]> {
  const before = await appliedVersions(client);
  try {
    return (await migrationUp(applying)).applied;
  } catch (error) {
    const versions = await appliedVersions(client);
    const isApplied = (file: string) => versions.some((version) => basename(file).startsWith(`${version}_`));
    if ([...files].some(isApplied)) throw error;
    takeAway();
    const why = error instanceof Error ? error.message : String(error);
    const others = versions.filter((version) => !before.includes(version));
    throw new Refusal(
      `${why}\n\n${
        others.length === 0
          ? "Nothing was applied"
          : `Of your own migrations ${others.join(", ")} ${others.length === 1 ? "was applied, and stays" : "were applied, and stay"}. Of Tokenbook's nothing was`
      }, and what was written for it is gone again.`,
    );
  }
}
