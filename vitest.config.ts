import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    // Two cores are enough for two files at a time; more would only make each other's processes late.
    maxWorkers: 2,
  },
});
