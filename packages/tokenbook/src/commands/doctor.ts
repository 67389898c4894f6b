import { Failure } from "local-platform/terminal/failure";
import type pg from "pg";
import { databaseCommand, exit, onDatabase } from "../command.ts";
import { inTransaction } from "../data/client.ts";
import { checkInstallation, type Finding } from "../data/installation.ts";
import { verifyInPieces, type Breach } from "../data/verification.ts";
import { installedVersion } from "../install/obstacles.ts";
import { doctorReport } from "../reports/doctor.ts";
import { agrees } from "../terminal/ask.ts";
import { count } from "../terminal/progress.ts";
import { createVoice } from "../terminal/voice.ts";

/** `tokenbook doctor`: what threatens the books from outside of them. */
export const doctor = databaseCommand(
  "doctor",
  "Whether Tokenbook is as it was installed, and what threatens the books from outside.",
  `Settings that lose commits, rights that nobody declared, row level security, whatever of Tokenbook's is not as it was
made, and what stands open beside it in the project; and the books themselves, as \`verify\` does, for a minute at most: of
larger ones it says how far it came. It reads only, and says the statement that mends each finding
where there is one; with --mend it runs those of Tokenbook's own faults, in one transaction, and looks again. Ends with
0 when there is no fault (there may be warnings), 1 when there is, 2 when that could not be found out.`,
)
  .option(
    "--mend",
    "runs the statements that mend what is Tokenbook's: not the server's settings, nor the project's",
  )
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ mend, yes, json, ...where }) => {
    if (yes && !mend) throw new Failure("--yes is for --mend: without that nothing is changed.");
    const voice = createVoice(json);
    await onDatabase(where, async (client, target) => {
      let findings = await checkInstallation(client);
      const statements = mend ? findings.filter(isOurs).flatMap(({ remedy }) => remedy ?? []) : [];
      if (statements.length > 0) {
        if (!yes) {
          voice.say(statements.map((statement) => `${statement};`).join("\n"));
          await agrees(
            `Run ${statements.length === 1 ? "this statement" : `these ${statements.length} statements`} on ${target.name}?`,
          );
        }
        await allOrNone(client, statements);
        console.error(`${count(statements.length, "statement")} run.`);
        findings = await checkInstallation(client);
      }
      findings.push(...(await lookAtBooks(client)));
      voice.report({ version: await installedVersion(client), findings }, () =>
        doctorReport(findings, target.name),
      );
      process.exitCode = findings.some(({ status }) => status === "fault") ? exit.wrong : exit.right;
    });
  });

/** Faults of what an install made. How the server is set is decided by the people who run it. */
const isOurs = ({ status, subject }: Finding): boolean => status === "fault" && subject !== "durability";

/** How long the books are looked at: a CI has other things to do. */
const mostSeconds = 60;
/** How many breaches are said; `verify` says all. */
const mostBreaches = 10;

/** What `verify` finds, as findings. */
async function lookAtBooks(client: pg.Client): Promise<Finding[]> {
  const begin = performance.now();
  const breaches: Breach[] = [];
  let users = 0;
  let after: string | null = null;
  for await (const piece of verifyInPieces(client, null, 50_000)) {
    breaches.push(...piece.breaches);
    users += piece.users;
    after = piece.until;
    if (breaches.length > mostBreaches || performance.now() - begin > mostSeconds * 1000) break;
  }
  const said = (status: Finding["status"], finding: string, remedy: string | null = null): Finding => ({
    subject: "the books",
    status,
    finding,
    remedy,
  });
  const rest =
    after === null
      ? []
      : [said("warning", `only ${count(users, "user")} looked at: npx tokenbook verify --after ${after}`)];
  if (breaches.length === 0)
    return rest.length > 0 ? rest : [said("ok", `no invariant is broken, of ${count(users, "user")}`)];
  return [
    ...breaches
      .slice(0, mostBreaches)
      .map(({ invariant, user_id: user, expected, found }) =>
        said(
          "fault",
          `${invariant}: ${user ?? "the project"}, expected ${expected ?? "nothing"}, found ${found ?? "nothing"}`,
        ),
      ),
    ...(breaches.length > mostBreaches
      ? [said("warning", `${breaches.length - mostBreaches} more of them so far`)]
      : []),
    ...rest,
  ];
}

async function allOrNone(client: pg.Client, statements: readonly string[]): Promise<void> {
  try {
    await inTransaction(client, async () => {
      for (const statement of statements) await client.query(statement);
    });
  } catch (error) {
    throw new Failure(`${(error as Error).message}\nNothing was changed.`);
  }
}
