/**
 * `npm run migration:seal`: seals new migrations by their hash in supabase/migrations.lock.
 *
 *   --check            changes nothing; fails when a migration does not agree with its seal
 *   --reseal <file>    seals an edited migration again (only if it has run nowhere yet)
 */
import { parseArgs } from "node:util";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { checkSeals, lockFile, sealMigrations } from "./schema/seals.ts";

try {
  const { values } = parseArgs({
    options: {
      check: { type: "boolean", default: false },
      reseal: { type: "string", multiple: true, default: [] },
    },
  });
  await (values.check ? check() : seal(values.reseal));
} catch (error) {
  reportFailure(error);
}

async function check(): Promise<void> {
  const broken = await checkSeals();
  if (broken.length > 0) {
    throw new Failure(broken.map(({ file, problem }) => `${file}: ${problem}`).join("\n"));
  }
  console.log("Every migration agrees with its seal.");
}

async function seal(reseal: readonly string[]): Promise<void> {
  const { sealed, resealed, forgotten } = await sealMigrations(reseal);
  for (const file of sealed) console.log(`sealed     ${file}`);
  for (const file of resealed) console.log(`resealed   ${file}`);
  for (const file of forgotten) console.log(`forgotten  ${file}`);
  console.log(`${lockFile} is up to date.`);
}
