/**
 * Something the person at the keyboard can do something about: a taken port, another version's data.
 * Its message is all they are shown; anything else that is thrown is a defect and keeps its stack.
 */
export class Failure extends Error {
  override name = "Failure";
}

/** Prints what went wrong and makes the process end with status 1. */
export function reportFailure(error: unknown): void {
  console.error(error instanceof Failure ? `\n${error.message}` : error);
  process.exitCode = 1;
}
