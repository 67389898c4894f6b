/**
 * A CSV file as an answer, sent while it is written. An error on the way breaks the connection off:
 * the reader sees that the file is not whole, and never takes it for a whole one.
 *
 * The first piece is read before anything is sent, so that what is refused is still answered as a
 * problem.
 *
 * @param pieces read as fast as the caller takes them, and no further than the caller does
 * @param fileName what a browser saves it as
 */
export async function csvFile(pieces: AsyncGenerator<{ text: string }>, fileName: string): Promise<Response> {
  const first = await pieces.next();
  const encoder = new TextEncoder();
  const bytes = async function* () {
    try {
      if (!first.done) yield encoder.encode(first.value.text);
      for await (const { text } of pieces) yield encoder.encode(text);
    } catch (error) {
      console.error(`${fileName} broken off: ${error instanceof Error ? error.stack : String(error)}`);
      throw error;
    }
  };
  return new Response(ReadableStream.from(bytes()), {
    headers: {
      "content-type": "text/csv; charset=utf-8",
      "content-disposition": `attachment; filename="${fileName}"`,
    },
  });
}
