import { confirm, isCancel } from "@clack/prompts";
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";

/**
 * Asks whether to go on. No answer is no.
 *
 * @throws Refusal when the answer is no, Failure when there is nobody to ask.
 */
export async function agrees(question: string): Promise<void> {
  if (!(process.stdin.isTTY && process.stdout.isTTY)) {
    throw new Failure("Here is nobody to ask. To go on without being asked, add --yes.");
  }
  const answer = await confirm({ message: question, initialValue: false });
  if (isCancel(answer) || !answer) throw new Refusal("Nothing was changed.");
}
