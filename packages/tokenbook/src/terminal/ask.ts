import { confirm, isCancel } from "@clack/prompts";
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";

/** @throws Failure when there is nobody to ask: to be called before long work that ends in a question. */
export function requireSomebody(): void {
  if (!(process.stdin.isTTY && process.stderr.isTTY)) {
    throw new Failure("Here is nobody to ask. To go on without being asked, add --yes.");
  }
}

/**
 * Asks, on standard error, because standard output may be a file. No answer is no.
 *
 * @throws Failure when there is nobody to ask.
 */
export async function asks(question: string): Promise<boolean> {
  requireSomebody();
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  return !isCancel(answer) && answer;
}

/**
 * Asks whether to go on.
 *
 * @throws Refusal when the answer is no, Failure when there is nobody to ask.
 */
export async function agrees(question: string): Promise<void> {
  if (!(await asks(question))) throw new Refusal("Nothing was changed.");
}
