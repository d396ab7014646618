import fc from 'fast-check'
import { expect } from 'vitest'
import type { Repo } from './repo.ts'

const RUNS = Number(process.env.MLV_TEST_RUNS ?? 4)
/** Fixed, so that a run means the same everywhere; 0 is another one each time. */
const SEED = Number(process.env.MLV_TEST_SEED ?? 20)
const MOST_STEPS = 40
/** ms; against hanging, no measure of speed */
export const RANDOM_STEPS_TIMEOUT = RUNS * 150_000

/** What is done to a repo, and what it should hold then. */
export type Step<Model extends object> = fc.AsyncCommand<Model, Repo>

export function step<Model extends object>(name: string, run: (model: Model, repo: Repo) => unknown): Step<Model> {
  return {
    check: () => true,
    run: async (model, repo) => {
      await run(model, repo)
    },
    toString: () => name,
  }
}

/** Takes random steps, several times from the start. The error names the steps. MLV_TEST_RUNS and MLV_TEST_SEED ask for more and others. */
export async function takeRandomSteps<Model extends object>(
  steps: fc.Arbitrary<Step<Model>>[],
  begin: () => Promise<{ model: Model; real: Repo }>,
  end: (model: Model, repo: Repo) => Promise<void>,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.commands(steps, { maxCommands: MOST_STEPS, size: 'max' }), async (taken) => {
      const { model, real } = await begin()
      await fc.asyncModelRun(() => ({ model, real }), taken)
      await end(model, real)
      real.cleanup()
    }),
    { numRuns: RUNS, ...(SEED > 0 ? { seed: SEED } : {}), endOnFailure: true },
  )
}

/** Every world of random steps has these. */
export const BRANCHES = ['main', 'next']

/** Goes to the other branch, data and all. */
export async function switchBranch(model: { branch: string }, repo: Repo): Promise<void> {
  model.branch = BRANCHES.find((branch) => branch !== model.branch)!
  await repo.git('switch', '-q', model.branch)
  await ok(repo, 'checkout')
}

/** A fresh clone of a branch, with all its data pulled. */
export async function pulledClone(repo: Repo, branch: string): Promise<Repo> {
  const clone = await repo.clone('--branch', branch)
  await ok(clone, 'remote', 'add', 'origin', repo.path('../remote'))
  await ok(clone, 'pull')
  return clone
}

/** @returns what a command says that must not fail */
export async function ok(repo: Repo, ...args: string[]): Promise<string> {
  const result = await repo.mlv(...args)
  expect(result, `${args.join(' ')}: ${result.stderr}`).toMatchObject({ exitCode: 0 })
  return result.stdout
}
