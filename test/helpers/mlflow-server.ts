import { homedir } from 'node:os'
import { join } from 'node:path'
import { findProgram, startServer } from './server-process.ts'

export interface MlflowServer {
  /** the tracking URI, without a slash at its end */
  uri: string
  stop(): Promise<void>
}

/** Where a real MLflow comes from: a running one, or the program to start; undefined when this machine has neither. */
export function findMlflow(): { uri: string } | { program: string } | undefined {
  const uri = process.env.MLV_TEST_MLFLOW_URI
  if (uri) return { uri: uri.replace(/\/+$/, '') }
  // .ci/run keeps its virtual environment in the cache folder; a machine that ran it once has MLflow.
  const folders = [process.env.MLV_TEST_VENV ?? '', join(homedir(), '.cache', 'mlv-test', 'mlflow')].filter(Boolean)
  const program = findProgram(
    'mlflow',
    folders.map((folder) => join(folder, 'bin')),
  )
  return program ? { program } : undefined
}

/** Starts a real MLflow on SQLite in a temporary folder, or takes the one MLV_TEST_MLFLOW_URI names, which may hold runs of others.
 *  @returns undefined where there is none: the tests skip, unless MLV_REQUIRE_REAL=1 made the run fail before */
export async function startMlflow(): Promise<MlflowServer | undefined> {
  const found = findMlflow()
  if (!found) return undefined
  if ('uri' in found) return { uri: found.uri, stop: async () => {} }
  const server = await startServer({
    program: found.program,
    args: (port, folder) => [
      ...['server', '--host', '127.0.0.1', '--port', String(port), '--workers', '1'],
      ...['--backend-store-uri', `sqlite:///${folder}/mlflow.db`, '--artifacts-destination', join(folder, 'artifacts')],
    ],
    // Its runners of jobs are more processes than the rest, and leave a folder in /dev/shm each time.
    env: { MLFLOW_DISABLE_TELEMETRY: 'true', DO_NOT_TRACK: 'true', MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false' },
    isReady: async (port) => (await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(10_000) })).ok,
    // The first start migrates the database, slowly on a busy machine.
    patience: 250,
  })
  return { uri: `http://127.0.0.1:${server.port}`, stop: server.stop }
}
