import process from "node:process";
import { configDefaults, defineConfig } from "vitest/config";

const onDeno = "Deno" in globalThis;
const isLong = process.env["TEST_SIZE"] === "long";

// No process, no socket, no file: what these need is imported once for all of them, and they answer within a minute. Hours
// of rates and concurrency that are played through are left to the others.
const quick = [
  "test/api/{PaginationHeader,Quote,SessionsApi,Tenant,TenantClient}.test.ts",
  "test/api/rate/RateLimiter.test.ts",
  "test/dataset/Digest*.test.ts",
  "test/format/{Formats,csv/formulas,ndjson/Ndjson}.test.ts",
  "test/promise/errors.test.ts",
  "test/queue/{QueueServer,RateLedger,ServerClock,SharedRate}.test.ts",
  "test/sandbox/{Changes,Paging}.test.ts",
  "test/sandbox/{data,faults,http}/*.test.ts",
  "test/scan/*.test.ts",
  "test/session/{Columns,IpAddress,Session}.test.ts",
  "test/sink/WebSink.test.ts",
  "test/source/{lies,SessionSource,ShardPlan}.test.ts",
  "test/source/*/*.test.ts",
];

// What these look at is the same whatever runs them: packages and compilers, processes of Deno, some beside those of Node,
// and Node's threads.
const ofNode = [
  "test/project.test.ts",
  "test/package/**",
  "test/cli/{between,compile,deno,hostile,permissions}.test.ts",
  "test/dataset/Lease.test.ts",
  "test/queue/rate.test.ts",
  "test/thread/{Thread,deno,package}.test.ts",
  "test/server/**",
  "test/warehouse/{deno,kills,lease,rights}.test.ts",
];

// What a runtime may do otherwise: sockets, files, streams, processes and their signals. The long tier has all files on both.
const ofBoth = [
  "test/runtime.test.ts",
  "test/api/transport/*.test.ts",
  "test/cli/{dataset,ending}.test.ts",
  "test/cli/ui/Terminal.test.ts",
  "test/dataset/{Dataset,kill,version1}.test.ts",
  "test/export/*.test.ts",
  "test/format/{Lines,select,parquet/Parquet}.test.ts",
  "test/promise.test.ts",
  "test/promise/{bytes,warehouse}.test.ts",
  "test/queue/values.test.ts",
  "test/sandbox/Server.test.ts",
  "test/sink/*.test.ts",
  "test/warehouse/{duckdb,postgres,postgresTarget}.test.ts",
];

// Rates that a process must keep to by the clock: it has the machine to itself, once all others are through.
const alone = ["test/queue/rate.test.ts"];

const every = ["test/**/*.test.ts"];
const exclude = [...configDefaults.exclude, ...(onDeno ? ofNode : [])];

export default defineConfig({
  test: {
    // For what hangs: a busy machine may take this long for what takes a second.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // On two cores, as many wait for processes and sockets as can work.
    maxWorkers: 4,
    projects: onDeno && !isLong
      ? [{ extends: true, test: { name: "both", include: ofBoth, exclude, isolate: false } }]
      : [
        { extends: true, test: { name: "quick", include: quick, exclude, isolate: false } },
        {
          extends: true,
          test: { name: "whole", include: every, exclude: [...exclude, ...quick, ...alone], isolate: false },
        },
        {
          extends: true,
          test: { name: "alone", include: alone, exclude, sequence: { groupOrder: 1 } },
        },
      ],
  },
});
