// An Azure OpenAI resource with its deployments, which the load balancer's identity may call.
@minLength(2)
@maxLength(64)
param name string
param location string
param tags object

@description('Each with name, modelName, modelVersion, skuName and capacity: thousands of tokens per minute, or PTUs.')
param deployments array
param contentFilter string
param disableLocalAuth bool
param publicNetworkAccess string

@description('The object id of the identity that may call the deployments.')
param principalId string

var openAiUserRole = '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd' // Cognitive Services OpenAI User

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' = {
  name: name
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: {
    name: 'S0'
  }
  properties: {
    customSubDomainName: name // identities are taken on this name alone
    disableLocalAuth: disableLocalAuth
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

// One at a time: the service refuses two changes of one resource at once.
@batchSize(1)
resource modelDeployment 'Microsoft.CognitiveServices/accounts/deployments@2024-10-01' = [for item in deployments: {
  parent: account
  name: item.name
  sku: {
    name: item.skuName
    capacity: item.capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: item.modelName
      version: item.modelVersion
    }
    raiPolicyName: contentFilter
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}]

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, openAiUserRole)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', openAiUserRole)
  }
}

output name string = account.name
output endpoint string = account.properties.endpoint
