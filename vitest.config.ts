import { configDefaults, defineConfig } from "vitest/config";

// No process, no socket, no file: what these need is imported once for all of them, and they answer within a minute.
const quick = [
  "test/api/{PaginationHeader,Quote,SessionsApi,Tenant,TenantClient}.test.ts",
  "test/api/rate/*.test.ts",
  "test/dataset/Digest*.test.ts",
  "test/format/{Formats,csv/formulas,ndjson/Ndjson}.test.ts",
  "test/promise/errors.test.ts",
  "test/sandbox/{Changes,Paging}.test.ts",
  "test/sandbox/{data,faults,http}/*.test.ts",
  "test/scan/*.test.ts",
  "test/session/{Columns,IpAddress,Session}.test.ts",
  "test/sink/WebSink.test.ts",
  "test/source/**/*.test.ts",
];

// What these look at is the same whatever runs them: packages and compilers, processes of Deno, some beside those of Node,
// and Node's threads.
const ofNode = [
  "test/project.test.ts",
  "test/package/**",
  "test/cli/between.test.ts",
  "test/cli/compile.test.ts",
  "test/cli/deno.test.ts",
  "test/cli/hostile.test.ts",
  "test/cli/permissions.test.ts",
  "test/dataset/Lease.test.ts",
  "test/thread/{Thread,deno,package}.test.ts",
  "test/server/**",
];

export default defineConfig({
  test: {
    exclude: [...configDefaults.exclude, ...("Deno" in globalThis ? ofNode : [])],
    testTimeout: 60_000,
    // Two cores are enough for two files at a time; more would only make each other's processes late.
    maxWorkers: 3,
    projects: [
      { extends: true, test: { name: "quick", include: quick, isolate: false } },
      {
        extends: true,
        test: {
          name: "whole",
          include: ["test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...quick, ...("Deno" in globalThis ? ofNode : [])],
        },
      },
    ],
  },
});
