/* npm run check: what can be said of the sources without running them. */
import { printChecks, runChecks } from "./checks.ts";

const checks = await runChecks();
printChecks(checks);
process.exitCode = checks.every((check) => check.passed) ? 0 : 1;
