// Waiting before the next attempt: doubling with full jitter in the upper half,
// so that clients cut off together do not come back together.

export interface BackoffOptions {
  firstMs?: number;
  capMs?: number;
  random?: () => number;
}

export class Backoff {
  private attempt = 0;
  private readonly firstMs: number;
  private readonly capMs: number;
  private readonly random: () => number;

  constructor({ firstMs = 400, capMs = 20_000, random = Math.random }: BackoffOptions = {}) {
    this.firstMs = firstMs;
    this.capMs = capMs;
    this.random = random;
  }

  /** The wait before the next attempt, in milliseconds; never below leastMs. */
  next(leastMs = 0): number {
    const ceiling = Math.min(this.capMs, this.firstMs * 2 ** this.attempt);
    this.attempt = Math.min(this.attempt + 1, 30);
    const jittered = ceiling / 2 + (this.random() * ceiling) / 2;
    // The server's hint is a floor; the jitter goes on top of it.
    return Math.round(leastMs > 0 ? leastMs + jittered / 2 : jittered);
  }

  /** To be called when a connection has proved itself, not when it merely opened. */
  reset(): void {
    this.attempt = 0;
  }
}
