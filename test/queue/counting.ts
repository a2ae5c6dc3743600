/** A process that counts on a value that others count on as well, by compare and swap. Its argument says what, as JSON. */
import process from "node:process";
import * as QueueServer from "../../src/queue/QueueServer.ts";

/** Tells it what to do. */
export interface Told {
  readonly url: string;
  readonly times: number;
}

const { url, times }: Told = JSON.parse(process.argv[2]!);
const values = await QueueServer.open(QueueServer.parse(url));
let conflicts = 0;
for (let done = 0; done < times;) {
  const { value = "0", version } = await values.read("count");
  if (await values.replace("count", version, `${Number(value) + 1}`)) done++;
  else conflicts++;
}
await values.close();
console.log(conflicts);
