/** A server with a little of OpenAI's and Anthropic's APIs, and a model that always says the same. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const words = ["The", " tide", " comes", " in", " twice", " a", " day."];
const text = words.join("");
const [input, output] = [12, 7];

/** Starts it on a port of its own. */
export async function startModel(): Promise<{ url: string; close(): void }> {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    if (request.url!.endsWith("/messages")) {
      const usage = { input_tokens: input, output_tokens: output };
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify({ type: "message", role: "assistant", content: [{ type: "text", text }], usage }),
      );
      return;
    }
    const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
    const message = { role: "assistant", content: text };
    if (!(JSON.parse(body) as { stream?: boolean }).stream) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ choices: [{ index: 0, message, finish_reason: "stop" }], usage }));
      return;
    }
    response.setHeader("content-type", "text/event-stream");
    const send = (data: object) => response.write(`data: ${JSON.stringify(data)}\n\n`);
    for (const content of words) send({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
    send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
    send({ choices: [], usage });
    response.end("data: [DONE]\n\n");
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => void server.close().closeAllConnections() };
}
