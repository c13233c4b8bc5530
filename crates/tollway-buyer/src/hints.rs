//! Credentials that offers need besides the payment (extension `auth-hints`): what a request cannot show is not paid for, for
//! it would be refused with the payment already signed.

use reqwest::Request;
use reqwest::header::AUTHORIZATION;
use tollway_core::extension::auth_hints::{AuthMethod, AuthRequirement, NAME, methods_for, read};
use tollway_core::model::{PaymentRequired, PaymentRequirements};

use crate::error::PaymentError;

/// What the offers of one 402 need.
#[derive(Debug)]
pub(crate) struct Hints {
    requirements: Vec<AuthRequirement>,
    has_token: bool,
}

impl Hints {
    /// Reads what the 402 says, for `request`. Hints that cannot be read are no reason to pay without.
    pub(crate) fn of(required: &PaymentRequired, request: &Request) -> Result<Self, PaymentError> {
        let declared = required.extensions.get(NAME);
        let requirements = declared.map(read).transpose().map_err(PaymentError::Malformed402)?;
        let has_token = request.headers().contains_key(AUTHORIZATION);
        Ok(Self { requirements: requirements.unwrap_or_default(), has_token })
    }

    /// Whether some offer may be paid only by who signs in.
    pub(crate) fn may_want_proof(&self) -> bool {
        let methods = self.requirements.iter().flat_map(|requirement| &requirement.methods);
        methods.into_iter().any(|method| *method == AuthMethod::SignInWithX)
    }

    /// Whether `offer` of `required` wants the proof of who signs in beside its payment.
    pub(crate) fn wants_proof(&self, required: &PaymentRequired, offer: &PaymentRequirements) -> bool {
        let Some(index) = required.accepts.iter().position(|own| own == offer) else { return false };
        methods_for(&self.requirements, index).any(|methods| !self.has_token_for(methods))
    }

    /// The 402 with those offers alone whose credentials are there.
    pub(crate) fn payable(
        &self,
        required: &PaymentRequired,
        has_proof: bool,
    ) -> Result<PaymentRequired, PaymentError> {
        let has_all = |index: usize| {
            methods_for(&self.requirements, index).all(|methods| {
                self.has_token_for(methods) || (has_proof && methods.contains(&AuthMethod::SignInWithX))
            })
        };
        let mut payable = required.clone();
        let mut index = 0;
        payable.accepts.retain(|_| {
            index += 1;
            has_all(index - 1)
        });
        if payable.accepts.is_empty() && !required.accepts.is_empty() {
            return Err(PaymentError::Credentials);
        }
        Ok(payable)
    }

    /// What a token in `Authorization` is good for is the application's business, which put it there.
    fn has_token_for(&self, methods: &[AuthMethod]) -> bool {
        self.has_token && methods.iter().any(|method| *method != AuthMethod::SignInWithX)
    }
}
