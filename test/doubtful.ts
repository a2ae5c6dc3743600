/** Answers that no walk can verify, however often it asks. */

/** The same answer of a list with its rows in reverse, of which there are more by its own count than are ever listed. */
export const doubtful = async (answer: Response): Promise<Response> => {
  if (answer.status !== 200) return answer;
  const rows: Array<unknown> = await answer.json();
  const headers = new Headers(answer.headers);
  const pagination = JSON.parse(headers.get("x-pagination") ?? "{}");
  headers.set("x-pagination", JSON.stringify({ ...pagination, total_count: pagination.total_count + 3 }));
  return new Response(JSON.stringify(rows.toReversed()), { headers });
};
