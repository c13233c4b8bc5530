//! `eth_simulateV1`: messages one after the other, in blocks that are never part of the chain. Rules, codes and words are
//! geth's; `traceTransfers`, by which ether that moves leaves logs, is not here.

use std::sync::Arc;

use alloy_consensus::{Header, TxEnvelope};
use alloy_eips::BlockId;
use alloy_primitives::{Bytes, Signature, U256};
use alloy_rpc_types_eth::{
    BlockOverrides, TransactionRequest,
    simulate::{MAX_SIMULATE_BLOCKS, SimBlock, SimCallResult, SimulateError, SimulatePayload},
};
use revm::context::result::ExecutionResult;

use crate::{
    chain::Block,
    evm::{Call, Transaction, apply, block_env},
    failure::Failure,
    node::{Body, Sight},
};

/// How much later a simulated block is than the simulated one before it, unless it says so itself.
const BLOCK_SECS: u64 = 12;

/// A chain of blocks on top of a real one, as far as it has been simulated.
pub(crate) struct Simulation<'a> {
    node: &'a Sight<'a>,
    /// Whether messages need the right nonce and pay for their gas, as transactions do.
    validates: bool,
    call: Call,
    parent: Arc<Block>,
    /// The real block's number.
    base: u64,
    /// What is left of the gas that one request may burn.
    gas: u64,
    done: Vec<Simulated>,
}

/// A block with what happened to each of its messages.
pub(crate) type Simulated = (Arc<Block>, Vec<SimCallResult>);

impl<'a> Simulation<'a> {
    pub(crate) fn new(node: &'a Sight<'a>, id: BlockId, validates: bool) -> Result<Self, Failure> {
        let call = node.call(id)?;
        let chain = node.chain();
        let parent = node.resolve(&chain, id)?.unwrap_or_else(|| node.head(&chain).clone());
        let (base, gas) = (parent.number(), node.config.limits.call_gas);
        Ok(Self { node, validates, call, parent, base, gas, done: Vec::new() })
    }

    /// Runs all blocks. One message that could not be a transaction fails them all.
    pub(crate) fn run(mut self, payload: SimulatePayload) -> Result<Vec<Simulated>, Failure> {
        if payload.trace_transfers {
            return Err(Failure::invalid_params("simulation", "traceTransfers is not supported"));
        }
        if payload.block_state_calls.is_empty() {
            return Err(Failure::new(-32_602, "empty input"));
        }
        for block in payload.block_state_calls {
            let number = self.number(&block)?;
            while self.parent.number() + 1 < number {
                self.simulate(SimBlock::default())?;
            }
            self.simulate(block)?;
        }
        Ok(self.done)
    }

    /// The number that a block is to have. It may leave a gap, which empty blocks fill.
    fn number(&self, block: &SimBlock) -> Result<u64, Failure> {
        let parent = self.parent.number();
        let wanted = block.block_number_override().unwrap_or_else(|| U256::from(parent + 1));
        let number = wanted.saturating_to::<u64>();
        if number <= parent {
            let problem = format!("block numbers must be in order: {number} <= {parent}");
            return Err(Failure::new(-38_020, problem));
        }
        if number - self.base > MAX_SIMULATE_BLOCKS {
            return Err(Failure::new(-38_026, "too many blocks"));
        }
        Ok(number)
    }

    fn simulate(&mut self, block: SimBlock) -> Result<(), Failure> {
        let header = self.header(block.block_overrides.unwrap_or_default())?;
        self.call.block = block_env(&header);
        if let Some(overrides) = block.state_overrides {
            self.call.override_state(overrides)?;
        }
        let mut body = Body::default();
        let mut results = Vec::with_capacity(block.calls.len());
        for request in block.calls {
            results.push(self.message(request, &header, &mut body)?);
        }
        let block = Arc::new(body.into_block(header));
        self.call.state.set_block_hash(block.number(), block.hash());
        self.parent = block.clone();
        self.done.push((block, results));
        Ok(())
    }

    fn header(&self, overrides: BlockOverrides) -> Result<Header, Failure> {
        if overrides.blob_base_fee.is_some() || overrides.block_hash.is_some() {
            return Err(Failure::invalid_params(
                "blockOverrides",
                "blobBaseFee and blockHash are not supported",
            ));
        }
        let parent = &self.parent.header;
        let mut header = self.node.header_after(&self.parent);
        if !self.done.is_empty() {
            header.timestamp = parent.timestamp.saturating_add(BLOCK_SECS);
        }
        if let Some(time) = overrides.time {
            if time <= parent.timestamp {
                let problem = format!("block timestamps must be in order: {time} <= {}", parent.timestamp);
                return Err(Failure::new(-38_021, problem));
            }
            header.timestamp = time;
        }
        // Where nobody pays, gas costs nothing, unless the block says otherwise.
        if !self.validates {
            header.base_fee_per_gas = Some(0);
        }
        if let Some(base_fee) = overrides.base_fee {
            let base_fee = base_fee
                .try_into()
                .map_err(|_| Failure::invalid_params("blockOverrides", "baseFeePerGas is above 64 bits"))?;
            header.base_fee_per_gas = Some(base_fee);
        }
        header.gas_limit = overrides.gas_limit.unwrap_or(parent.gas_limit);
        header.beneficiary = overrides.coinbase.unwrap_or(parent.beneficiary);
        header.mix_hash = overrides.random.unwrap_or(header.mix_hash);
        Ok(header)
    }

    fn message(
        &mut self,
        mut request: TransactionRequest,
        header: &Header,
        body: &mut Body,
    ) -> Result<SimCallResult, Failure> {
        let left = header.gas_limit.saturating_sub(body.gas_used);
        let gas = request.gas.unwrap_or(left);
        if gas > left {
            let (used, limit) = (body.gas_used, header.gas_limit);
            return Err(Failure::new(-38_015, format!("block gas limit reached: {used} >= {limit}")));
        }
        let gas = gas.min(self.gas);
        let sender = request.from.unwrap_or_default();
        let nonce = request.nonce.unwrap_or_else(|| self.call.state.nonce(sender));
        request.nonce = Some(nonce);
        request.gas = Some(gas);
        let result = apply(&mut self.call, &request, gas, self.validates)?;
        self.gas = self.gas.saturating_sub(result.tx_gas_used());
        let told = tell(&result);
        body.add(Arc::new(self.transaction(request)?), result, header.base_fee_per_gas);
        Ok(told)
    }

    /// The transaction that a message would be, signed by nobody.
    fn transaction(&self, mut request: TransactionRequest) -> Result<Transaction, Failure> {
        let sender = request.from.unwrap_or_default();
        request.chain_id.get_or_insert(self.call.chain_id);
        if request.gas_price.is_none() {
            request.max_fee_per_gas.get_or_insert(0);
            request.max_priority_fee_per_gas.get_or_insert(0);
        }
        request.to.get_or_insert_default();
        let typed = request
            .build_consensus_tx()
            .map_err(|problem| Failure::invalid_params("calls", problem.error))?;
        let envelope = TxEnvelope::from((typed, Signature::new(U256::ZERO, U256::ZERO, false)));
        Ok(Transaction { hash: *envelope.tx_hash(), sender, envelope })
    }
}

/// What happened to a message, but for its logs: those are told with the block, which has its hash only at the end.
fn tell(result: &ExecutionResult) -> SimCallResult {
    let failure = match result {
        ExecutionResult::Success { .. } => None,
        ExecutionResult::Revert { output, .. } => Some(Failure::reverted(output.clone())),
        ExecutionResult::Halt { reason, .. } => Some(Failure { code: -32_015, ..Failure::halted(reason) }),
    };
    SimCallResult {
        // As in geth, what a reverted message returned is the error's data and nothing else.
        return_data: match result {
            ExecutionResult::Success { output, .. } => output.data().clone(),
            _ => Bytes::new(),
        },
        logs: Vec::new(),
        gas_used: result.tx_gas_used(),
        max_used_gas: None,
        status: result.is_success(),
        error: failure.map(|failure| SimulateError {
            code: i32::try_from(failure.code).unwrap_or(i32::MIN),
            message: failure.message.into_owned(),
            data: failure.data,
        }),
    }
}
