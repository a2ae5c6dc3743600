/**
 * A tenant that costs next to nothing: the answers of a sandbox of few users, each made once and given to all. Served on a
 * port by a process of its own.
 */
import { createServer } from "node:http";
import { make } from "monocloud-sessions/sandbox";

const DISTINCT = 20;

/** Answers by path; user 1234 has the sessions of user 14. */
const answers = (sessionsPerUser: number) => {
  const sandbox = make({ users: DISTINCT, sessionsPerUser });
  const ids = [...sandbox.userIds()];
  const made = new Map<string, { readonly body: string; readonly headers: Record<string, string> }>();
  return (target: string) => {
    const url = target.replace(
      /users\/(\d+)\//,
      (_, user: string) => `users/${ids[Number(user) % DISTINCT]}/`,
    );
    let answer = made.get(url);
    if (answer === undefined) {
      const { headers, body } = sandbox.answer({ method: "GET", target: url, key: sandbox.key }) as {
        readonly headers: Record<string, string>;
        readonly body: string;
      };
      made.set(url, answer = { headers, body });
    }
    return answer;
  };
};

if (process.send !== undefined) {
  const answer = answers(Number(process.argv[2]));
  const server = createServer((request, response) => {
    const { body, headers } = answer(request.url ?? "/");
    response.writeHead(200, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
  });
  server.listen(0, "127.0.0.1", () => process.send!(server.address()));
}
