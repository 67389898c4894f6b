/*
 * A server with OpenAI's chat completions and one patient model, to try ai-chat without a provider:
 *
 *   node --import tsx examples/streaming/model-server.ts
 *
 * prints the line for supabase/functions/.env.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const words = ["The", " tide", " comes", " in", " twice", " a", " day."];

const server = createServer(async (request, response) => {
  for await (const _ of request); // whatever the question is
  response.setHeader("content-type", "text/event-stream");
  const send = (data: object) => response.write(`data: ${JSON.stringify(data)}\n\n`);
  for (const word of words) {
    send({ choices: [{ index: 0, delta: { content: word }, finish_reason: null }] });
    await new Promise((go) => setTimeout(go, 100));
    if (response.destroyed) return;
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  send({ choices: [], usage: { prompt_tokens: 12, completion_tokens: 7, total_tokens: 19 } });
  response.end("data: [DONE]\n\n");
});

server.listen(Number(process.env["PORT"] ?? 4010), "127.0.0.1", () => {
  console.log(`AI_BASE_URL=http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`);
});
