import { findDvc } from './dvc.ts'
import { findMlflow } from './mlflow-server.ts'
import { findS3 } from './s3-server.ts'
import { straceProblem } from './strace.ts'

/** Runs once before all tests: one line for each real part that this machine lacks, so that no skip goes unseen.
 *  With MLV_REQUIRE_REAL=1 a missing part ends the run. */
export default function sayWhatIsSkipped(): void {
  const strace = straceProblem()
  const missing = [
    findS3() ? '' : 'the S3 tests: no versitygw on PATH or in ~/go/bin, and no MLV_TEST_S3_ENDPOINT',
    findMlflow() ? '' : 'the MLflow tests: no mlflow on PATH or in $MLV_TEST_VENV, and no MLV_TEST_MLFLOW_URI',
    findDvc() ? '' : 'the tests on real DVC repositories: no dvc on PATH or in ~/.cache/mlv-test/dvc, and no MLV_TEST_DVC',
    strace === undefined ? '' : `the tests that watch commands, those of power loss among them: ${strace}`,
  ].filter(Boolean)
  if (process.env.MLV_REQUIRE_REAL === '1' && missing.length > 0)
    throw new Error(`MLV_REQUIRE_REAL=1 forbids skipping ${missing.join('; ')}`)
  for (const line of missing) console.log(`skipped: ${line}`)
}
