/** Applying what was just written into a project's folder, or taking it away again. */
import { basename } from "node:path";
import type pg from "pg";
import { migrationUp } from "local-platform/project/supabase-cli";
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";
import { select } from "../data/client.ts";
import { appliedVersions } from "./migrations.ts";

/**
 * One at a time writes migrations of Tokenbook's and applies them: until the connection ends.
 *
 * @param where for people: which database.
 * @throws Refusal while another does.
 */
export async function requireAlone(client: pg.Client, where: string): Promise<void> {
  const [lock] = await select<{ is: boolean }>(
    client,
    "select pg_try_advisory_lock(hashtextextended('tokenbook migrations', 0)) as is",
  );
  if (!lock!.is) {
    throw new Refusal(
      `Another install, upgrade or uninstall of Tokenbook is under way in ${where}. Nothing was changed; try again once it has ended.`,
    );
  }
}

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
    const why = error instanceof Error ? error.message : String(error);
    const done = [...files].filter(isApplied);
    if (done.length > 0) {
      const waiting = [...files].filter((file) => !isApplied(file));
      throw new Failure(
        `${why}\n\n${done.map((file) => basename(file)).join(", ")} ${done.length === 1 ? "is applied, and stays" : "are applied, and stay"}; ${waiting.map((file) => basename(file)).join(", ")} waits. Once what refused it is\nmended: supabase migration up (hosted: supabase db push); npx tokenbook status says how far it is.`,
      );
    }
    takeAway();
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
