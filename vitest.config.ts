import { configDefaults, defineConfig } from "vitest/config";

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
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...("Deno" in globalThis ? ofNode : [])],
    testTimeout: 60_000,
    // Two cores are enough for two files at a time; more would only make each other's processes late.
    maxWorkers: 2,
  },
});
