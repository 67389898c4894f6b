/* npm run doctor [-- --json] [--remote <url>] */
import { parseArgs } from "node:util";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { checkInstallation } from "./data/installation.ts";
import { asDatabaseFailure } from "./database-failure.ts";
import { doctorReport } from "./doctor-report.ts";
import { chooseTarget, withTarget } from "./target.ts";

const usage = `What threatens the books from outside of them: settings that lose commits, rights that nobody declared, row
level security, whatever of Tokenbook's is not as it was made, and what stands open beside it in the project.
It reads only, and says the statement that mends each finding where there is one.

  npm run doctor
  npm run --silent doctor -- --json              for machines

The database is the local one, unless SUPABASE_DB_URL or --remote <connection string> names another.
Ends with 0 when there is no fault (there may be warnings), 1 when there is, 2 when that could not be found out.`;

/** Nothing is known of the installation. */
const noVerdict = 2;

try {
  const { json, remote } = readArguments();
  const target = chooseTarget(remote ?? (process.env["SUPABASE_DB_URL"] || undefined));
  const findings = await withTarget(target, (client) =>
    checkInstallation(client).catch((error: unknown) => {
      throw asDatabaseFailure(error, target.name);
    }),
  );
  console.log(json ? JSON.stringify({ findings }, null, 2) : doctorReport(findings, target.name));
  process.exitCode = findings.some(({ status }) => status === "fault") ? 1 : 0;
} catch (error) {
  reportFailure(error);
  process.exitCode = noVerdict;
}

function readArguments() {
  try {
    return parseArgs({ options: { json: { type: "boolean", default: false }, remote: { type: "string" } } })
      .values;
  } catch (error) {
    throw new Failure(`${(error as Error).message}\n\n${usage}`);
  }
}
