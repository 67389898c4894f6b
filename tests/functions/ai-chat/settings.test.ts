import { afterAll, afterEach, expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Stack } from "../stack.ts";
import { bodyFor, chat, expectSettledBooks, leave } from "./chat.ts";
import { startProvider } from "./provider.ts";

const stacks: Stack[] = [];
const provider = await startProvider();
afterAll(() => provider.close());
afterEach(async () => {
  for (const stack of stacks.splice(0)) await stack.close();
});

async function started(...args: Parameters<typeof startStack>) {
  const stack = await startStack(...args);
  stacks.push(stack);
  const user = await stack.user();
  await grant(stack.db, user.id, 1_000);
  return { stack, user };
}

test.each([
  [{}, "AI_BASE_URL is not set"],
  [{ AI_BASE_URL: "http://127.0.0.1:1", AI_TIMEOUT_SECONDS: "soon" }, "AI_TIMEOUT_SECONDS must be"],
])("with settings %j it is 500, the log says why, and nothing is held", async (settings, line) => {
  const { stack, user } = await started(settings);
  expectProblem(await stack.ask("ai-chat", { caller: user, body: bodyFor("streams") }), "internal_error");
  await expect.poll(() => stack.log.join("\n")).toContain(line);
  await expectSettledBooks(stack);
});

test("a provider that is not there is 502, and nothing is charged", async () => {
  const { stack, user } = await started({ AI_BASE_URL: "http://127.0.0.1:1/v1" });
  expectProblem(await stack.ask("ai-chat", { caller: user, body: bodyFor("streams") }), "provider_failed");
  await expectSettledBooks(stack);
});

test("only the listed models may be asked for, and the usual limit is the project's", async () => {
  const settings = {
    AI_BASE_URL: `${provider.url}/`,
    AI_MODELS: "thinks, streams",
    AI_DEFAULT_MAX_TOKENS: "99",
  };
  const { stack, user } = await started(settings);
  const asked = await stack.ask("ai-chat", { caller: user, body: bodyFor("is-dear") });
  expectProblem(asked, "invalid_request", { field: "model", rule: "one of thinks, streams" });
  await chat(stack, user, { ...bodyFor("streams"), max_tokens: undefined });
  expect(provider.asked.at(-1)).toMatchObject({ authorization: undefined, body: { max_tokens: 99 } });
});

test(
  "the test sees it: a stream that does not notice its reader's going keeps the hold",
  { tags: ["proof"] },
  async () => {
    const { stack, user } = await started(
      { AI_BASE_URL: provider.url },
      {
        file: "_shared/token-hold.ts",
        right: 'const onAbort = () => stop("aborted", signal?.reason);',
        wrong: "const onAbort = () => {};",
      },
    );
    await leave(stack, user, bodyFor("stalls-midway"), 1);
    await new Promise((go) => setTimeout(go, 1_500));
    const { rows } = await stack.db.admin.query("select status from public.token_holds");
    console.log(`mutant, 1.5 s after the client has gone: ${JSON.stringify(rows)}`);
    await expect(expectSettledBooks(stack)).rejects.toThrow();
  },
);
