import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // The tests wait for disks and for children more than they compute; one worker fewer than cores would leave half of two cores idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    include: ['test/**/*.test.ts'],
    // Against hanging, no measure of speed: the longest test takes a tenth of it where nothing else runs.
    testTimeout: 180_000,
    hookTimeout: 300_000,
    teardownTimeout: 120_000,
    globalSetup: ['test/helpers/skipped.ts'],
  },
})
