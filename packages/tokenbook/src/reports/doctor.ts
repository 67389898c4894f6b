import type { Finding } from "../data/installation.ts";

const signs = { ok: "ok     ", warning: "warning", fault: "FAULT  " };

/** For the text of a function, a column and the like, of which only the migration has the whole statement. */
const inMigrations = "-- no statement that could be said here: run again what the migrations say of it";

/** Subjects whose findings say themselves what is to be done. */
const saysItself = (subject: string): boolean =>
  ["the books", "the shadow", "jobs", "moves"].includes(subject);

/** The findings for people: a line a subject that is sound; of the others what is wrong, and the statement that mends it. */
export function doctorReport(findings: readonly Finding[], where: string): string {
  const lines = findings.flatMap(({ subject, status, finding, remedy }) => [
    `${signs[status]}  ${subject}: ${finding}`,
    ...(status === "ok" || (remedy === null && saysItself(subject))
      ? []
      : [
          // what it closes may be what the app's own users call
          ...(subject === "the project" && remedy?.startsWith("revoke execute")
            ? ["           -- only if no user of the app calls it, but your server:"]
            : []),
          `           ${remedy === null ? inMigrations : `${remedy};`}`,
        ]),
  ]);
  const areWrong = findings.some(({ subject, status }) => subject === "the books" && status === "fault");
  if (areWrong)
    lines.push(
      '           npx tokenbook verify lists all of the books; how each is mended: docs/guides/reconciliation.md, "What verify finds"',
    );
  return [...lines, "", `${verdict(findings)} (${where})`].join("\n");
}

function verdict(findings: readonly Finding[]): string {
  const [faults, warnings] = (["fault", "warning"] as const).map(
    (status) => findings.filter((one) => one.status === status).length,
  ) as [number, number];
  const said = [count(faults, "fault"), count(warnings, "warning")].filter((one) => one !== "").join(", ");
  if (faults > 0) return `The books are in danger: ${said}. What mends a fault stands below it.`;
  if (warnings > 0)
    return `Tokenbook is as it was installed: ${said}, of what is the project's own to close or to leave open.`;
  return "Tokenbook is as it was installed, and nothing around it stands open.";
}

const count = (n: number, what: string) => (n === 0 ? "" : `${n} ${what}${n === 1 ? "" : "s"}`);
