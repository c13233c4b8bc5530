// How the paying scripts end: one line of JSON, and a status that says whether the payment went through.

// `pay` returns the response and how to read the settlement out of its headers.
export async function finish(pay) {
  let paid = false;
  let result;
  try {
    const [response, readSettlement] = await pay();
    const settlement = readSettlement(response.headers) ?? null;
    const { status } = response;
    result = { status, body: await response.text(), settlement, headers: Object.fromEntries(response.headers) };
    paid = response.ok && settlement?.success === true;
  } catch (error) {
    result = { error: error.message, cause: error.cause?.message };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(paid ? 0 : 1));
}
