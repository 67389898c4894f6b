import { databaseCommand, exit, onDatabase } from "../command.ts";
import { checkInstallation } from "../data/installation.ts";
import { doctorReport } from "../reports/doctor.ts";

/** `tokenbook doctor`: what threatens the books from outside of them. */
export const doctor = databaseCommand(
  "doctor",
  "Whether Tokenbook is as it was installed, and what threatens the books from outside.",
  `Settings that lose commits, rights that nobody declared, row level security, whatever of Tokenbook's is not as it was
made, and what stands open beside it in the project. It reads only, and says the statement that mends each finding
where there is one. Ends with 0 when there is no fault (there may be warnings), 1 when there is, 2 when that could
not be found out.`,
)
  .option("--json", "for machines")
  .action(async ({ json, ...where }) => {
    await onDatabase(where, async (client, target) => {
      const findings = await checkInstallation(client);
      console.log(json ? JSON.stringify({ findings }, null, 2) : doctorReport(findings, target.name));
      process.exitCode = findings.some(({ status }) => status === "fault") ? exit.wrong : exit.right;
    });
  });
