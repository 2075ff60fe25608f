/** What the hosts of this example answer: quickly, or after a while, so that some requests are always in flight. */
export async function answer(path: string): Promise<{ status: number; body: string }> {
  if (path.includes('slow')) await new Promise((resolve) => setTimeout(resolve, 300 + Math.random() * 700))
  return { status: 200, body: JSON.stringify({ path }) }
}
